"""Published checkpoints, converted by tools/convert, are served."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from harness import PATIENCE, ROOT, Server, pixels

sys.path.insert(0, str(ROOT / "tests" / "tools" / "convert"))

from checkpoints import Array, edm_pickle, fixture, torch_legacy, torch_zip
from guided_diffusion import GuidedDiffusion


def convert(checkpoint: Path, output: Path, *flags: str) -> None:
    result = subprocess.run(
        [ROOT / "tools" / "convert", checkpoint, output, *flags],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 0, result.stderr


def write_model_file(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Array]) -> None:
    """The same parameters without the converter."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": array.shape,
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("name", ["ddpmpp-edm", "ddpmpp-vp", "ncsnpp-ve", "adm-edm"])
def test_a_converted_checkpoint_gives_the_images_of_its_parameters(
    tmp_path: Path, new_server: Callable[..., Server], name: str
) -> None:
    model = fixture(name)
    preconditioning = model.preconditioning
    snapshot = tmp_path / "snapshot.pkl"
    snapshot.write_bytes(edm_pickle(preconditioning, model.tensors, model.config))
    converted = tmp_path / "converted.safetensors"
    flags = []
    if label_dim := model.config["label_dim"]:
        classes = tmp_path / "classes.json"
        classes.write_text(json.dumps([f"class {i}" for i in range(label_dim)]))
        flags = [f"--classes={classes}"]
    convert(snapshot, converted, *flags, "--license=CC BY-NC-SA 4.0")

    state_dict = tmp_path / "pytorch_model.bin"
    prefixed = {f"module.{key}": array for key, array in model.tensors.items()}
    state_dict.write_bytes(torch_legacy(prefixed))
    derived = tmp_path / "derived.safetensors"
    convert(state_dict, derived, f"--preconditioning={preconditioning}")

    direct = tmp_path / "direct.safetensors"
    metadata = {"preconditioning": preconditioning, "config": json.dumps(model.config)}
    write_model_file(direct, metadata, model.parameters)

    server = new_server(
        f"--model={direct}",
        f"--model={converted}",
        f"--model={derived}",
        "--deterministic",
        "--max_batch=2",
    )
    with server.client() as client:
        info = client.model("converted")
        resolution = model.config["img_resolution"]
        assert (info.width, info.height) == (resolution, resolution)
        assert info.channels == model.config["img_channels"]
        assert info.num_skips == client.model("direct").num_skips
        assert info.license == "CC BY-NC-SA 4.0"
        assert info.preconditioning == preconditioning
        if label_dim:
            assert info.class_names[1] == "class 1"
        expected, *others = (
            pixels(client.generate(model=file, seeds=3, nfe=3)[0])
            for file in ("direct", "converted", "derived")
        )
    for image in others:
        np.testing.assert_array_equal(image, expected)


def test_a_converted_consistency_model_is_served(
    tmp_path: Path, new_server: Callable[..., Server]
) -> None:
    network = GuidedDiffusion()
    # Random weights of variance 1 would overflow; a network keeps its activations near 1.
    tensors = {
        name: array if array.ndim < 2 else array * np.float16(array[0].size ** -0.5)
        for name, array in network.tensors.items()
    }
    checkpoint = tmp_path / "cd.pt"
    checkpoint.write_bytes(torch_zip(tensors))
    converted = tmp_path / "cd.safetensors"
    convert(checkpoint, converted, "--resolution=32")
    server = new_server(f"--model={converted}", "--max_batch=2")
    with server.client() as client:
        info = client.model("cd")
        assert (info.width, info.num_classes, info.preconditioning) == (32, 5, "CMPrecond")
        (image,) = client.generate(model="cd", seeds=1, classes=4, nfe=1, solver="euler")
        assert pixels(image).shape == (32, 32, 3)
