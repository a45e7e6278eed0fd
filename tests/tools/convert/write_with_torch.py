"""python write_with_torch.py FOLDER: what PyTorch itself writes, for test_torch.py. Needs torch.

FOLDER/zip.bin, legacy.bin: torch.save of a state_dict with a float16, a bfloat16, a transposed, a
shared and an offset tensor among it. FOLDER/snapshot.pkl: a pickled tree of torch.nn.Modules that
reduces itself as the persistent objects of EDM do.
"""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoints import SOURCE, small_fixture


def reconstruct(meta: dict[str, Any]) -> Any:
    raise AssertionError("only its name is pickled")


def register() -> None:
    """torch_utils.persistence, as far as the pickler looks."""
    reconstruct.__module__ = "torch_utils.persistence"
    reconstruct.__qualname__ = reconstruct.__name__ = "_reconstruct_persistent_obj"
    package = types.ModuleType("torch_utils")
    module = types.ModuleType("torch_utils.persistence")
    vars(module)[reconstruct.__name__] = reconstruct
    sys.modules |= {"torch_utils": package, "torch_utils.persistence": module}


class Persistent(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, class_name: str, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.class_name = class_name
        self.scale = np.sqrt(0.5)  # a numpy scalar in the state, as EDM has them
        self._init_args = ()
        self._init_kwargs = arguments

    def __reduce__(self) -> Any:
        state = dict(self.__dict__)
        meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": state.pop("class_name"),
            "state": state,
        }
        return reconstruct, (meta,), None


def tree(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> Persistent:
    root = Persistent("EDMPrecond", config)
    for name, tensor in tensors.items():
        module: torch.nn.Module = root
        *path, leaf = name.split(".")
        for part in path:
            if part not in module._modules:
                in_dict = part in ("enc", "dec")
                module.add_module(part, torch.nn.ModuleDict() if in_dict else Persistent("X", {}))
            child = module._modules[part]
            assert child is not None
            module = child
        if leaf == "resample_filter":
            module.register_buffer(leaf, tensor)
        else:
            module.register_parameter(leaf, torch.nn.Parameter(tensor))
    return root


def main() -> None:
    folder = Path(sys.argv[1])
    model = small_fixture()
    tensors = {name: torch.from_numpy(array.copy()) for name, array in model.tensors.items()}
    with (folder / "snapshot.pkl").open("wb") as file:
        register()
        pickle.dump({"ema": tree(tensors, model.config), "dataset_kwargs": {}}, file)

    weight = "model.map_layer1.weight"
    tensors[weight] = tensors[weight].t().contiguous().t()
    both = torch.cat([tensors[f"model.map_layer{i}.bias"] for i in range(2)])
    for i in range(2):
        tensors[f"model.map_layer{i}.bias"] = both[16 * i : 16 * (i + 1)]
    for name, dtype in HALVES.items():
        tensors[name] = tensors[name].to(dtype)
    state_dict = tree(tensors, model.config).state_dict()
    torch.save(state_dict, folder / "zip.bin")
    torch.save(state_dict, folder / "legacy.bin", _use_new_zipfile_serialization=False)


HALVES = {
    "model.map_label.weight": torch.float16,
    "model.map_augment.weight": torch.bfloat16,
}

if __name__ == "__main__":
    main()
