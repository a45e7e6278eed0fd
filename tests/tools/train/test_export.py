"""The server computes the network that was trained."""

import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import Server, binary, pixels
from helpers import make_pictures, small, small_config, toml, trainer_of
from reference_unet import fixtures
from skipstream_data import nouns
from skipstream_train import config as configs
from skipstream_train import model_file
from skipstream_train.cli import main
from skipstream_train.errors import TrainError
from skipstream_train.state import save
from skipstream_train.unet import Denoiser

ROOT = Path(__file__).resolve().parents[3]
ZOO = ROOT / "model/zoo/nouns32.safetensors"
TOLERANCE = 2e-5  # tests/data/reference/README.md


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pictures(tmp_path)


def run_main(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@dataclass
class Trained:
    """The trained network in the place of the NumPy one, to compute what a fixture states."""

    net: Denoiser

    def __call__(self, x: Any, sigma: Any, classes: Any, rho: Any) -> Any:
        as_float = (torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (x, sigma, rho))
        noisy, level, scale = as_float
        labels = torch.eye(self.net.config.label_dim)[torch.as_tensor(classes)]
        with torch.no_grad():
            return self.net(noisy, level, labels, scale).double().numpy()

    def heun(self, latents: Any, levels: Any, classes: Any, rho: Any) -> Any:
        """EDM, Algorithm 1 without churn; `levels` end with 0."""

        def slope(x: Any, t: float) -> Any:
            return (x - self(x, np.full(len(x), t), classes, rho)) / t

        x = latents * levels[0]
        for t, t_next in itertools.pairwise(levels):
            first = slope(x, t)
            moved = x + (t_next - t) * first
            if t_next > 0:
                moved = x + (t_next - t) * (first + slope(moved, t_next)) / 2
            x = moved
        return x

    def outputs(self, io: dict[str, Any]) -> dict[str, Any]:
        rho = io["rho_linear"]
        result = {}
        for suffix, scale in (("plain", np.ones_like(rho)), ("skip_tuned", rho)):
            result[f"denoised_{suffix}"] = self(io["x"], io["sigma"], io["class"], scale)
            result[f"heun6_{suffix}"] = self.heun(
                io["latents"], io["heun6_sigmas"], io["class"], scale
            )
        return result


@pytest.fixture
def exported(folder: Path) -> tuple[Denoiser, model_file.ModelFile, Path]:
    """A network with weights that matter everywhere, through a checkpoint into a model file."""
    trainer = trainer_of(small_config(folder))
    draw = torch.Generator().manual_seed(11)
    net = trainer.state.net
    for name, value in trainer.state.ema.items():
        mean, deviation = (1.0, 0.3) if "norm" in name and name.endswith("weight") else (0.0, 0.2)
        if value.ndim > 1:
            deviation = value[0].numel() ** -0.5
        value.copy_(mean + deviation * torch.randn(value.shape, generator=draw))
    (folder / "run").mkdir()
    trainer.state.images = 32
    save(trainer.state, folder / "run")
    output = folder / "small.safetensors"
    assert run_main("export", folder / "run", output) == 0
    net.load_state_dict(trainer.state.ema)
    return net.eval(), model_file.read(output), output


def test_the_metadata_says_what_the_server_needs(
    exported: tuple[Denoiser, model_file.ModelFile, Path],
) -> None:
    net, file, _ = exported
    config = json.loads(file.metadata["config"])
    assert config["label_dropout"] == 0.1
    assert (config["img_resolution"], config["label_dim"]) == (8, 2)
    assert json.loads(file.metadata["classes"]) == ["blue", "red"]
    assert file.metadata["license"] == "none, a test"
    assert file.metadata["images_seen"] == "32"
    assert file.tensors.keys() == net.state_dict().keys()


def test_both_other_implementations_compute_the_same(
    exported: tuple[Denoiser, model_file.ModelFile, Path], tmp_path: Path
) -> None:
    """D(x) and a whole Heun trajectory, with and without skip-tuning: NumPy and C++."""
    net, file, _ = exported
    draw = np.random.default_rng(5)

    def single(*shape: int) -> Any:
        return draw.standard_normal(shape).astype(np.float32).astype(np.float64)

    skips = net.config.num_skips
    sigma = np.float32([0.05, 1.3, 30.0]).astype(np.float64)
    rho = np.linspace(draw.uniform(0.5, 1.5, 3), draw.uniform(0.5, 1.5, 3), skips, axis=1)
    io: dict[str, Any] = {
        "x": single(3, 3, 8, 8) * (0.5 + sigma[:, None, None, None]).astype(np.float32),
        "sigma": sigma,
        "class": np.array([0, 1, 0]),
        "rho_linear": rho.astype(np.float32).astype(np.float64),
        "latents": single(3, 3, 8, 8),
        "heun6_sigmas": np.append(np.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 6) ** 7, 0.0),
    }
    io["x"] = io["x"].astype(np.float32).astype(np.float64)
    io |= Trained(net).outputs(io)
    dtypes = {"class": "I64", "heun6_sigmas": "F64", "heun6_plain": "F64"}
    dtypes["heun6_skip_tuned"] = "F64"
    tensors = {f"io.{name}": (dtypes.get(name, "F32"), value) for name, value in io.items()}
    tensors |= {f"param.{name}": ("F32", value.numpy()) for name, value in file.tensors.items()}
    fixture = tmp_path / "trained.safetensors"
    limits = {"num_skips": str(skips), "sigma_min": "0.0", "sigma_max": "inf"}
    fixtures.write(fixture, file.metadata | limits, tensors)

    errors = fixtures.check(fixture)
    assert len(errors) == 4
    for tensor, error in errors.items():
        assert error < TOLERANCE, tensor
    result = subprocess.run([binary("parity"), fixture], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_server_loads_the_file_and_draws_what_the_trained_network_draws(
    exported: tuple[Denoiser, model_file.ModelFile, Path], tmp_path: Path
) -> None:
    net, _, path = exported
    with Server(f"--model={path}", log=tmp_path / "log") as server, server.client() as client:
        info = client.model("small")
        assert info.supports_guidance
        assert info.class_names == ("blue", "red")
        (image,) = client.generate(model="small", seeds=3, classes="red", nfe=11, solver="heun")
        (guided,) = client.generate(
            model="small", seeds=3, classes="red", nfe=11, solver="heun", guidance=2.0
        )
    levels = np.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 6) ** 7
    latents = torch.randn((3, 8, 8), generator=torch.Generator().manual_seed(3))[None]
    rho = np.ones((1, net.config.num_skips))
    x = Trained(net).heun(latents.double().numpy(), np.append(levels, 0), np.array([1]), rho)
    expected = np.clip(x[0] * 127.5 + 128, 0, 255).astype(int).transpose(1, 2, 0)
    assert np.abs(pixels(image) - expected).max() <= 1
    assert len(np.unique(expected)) > 20
    assert np.abs(pixels(guided) - expected).max() > 1


def test_training_starts_from_the_shipped_model() -> None:
    """Its denoising is better than that of a start from nothing by far, and its count goes on."""
    config = configs.load(ROOT / "tools/train_configs/nouns32.toml")
    text = config.to_json()
    text["training"] |= {"batch": 16, "micro_batch": 16, "precision": "float32"}
    text["data"] = {"kind": "nouns"}
    config = configs.parse(json.loads(json.dumps(text)), ROOT)
    trainer = trainer_of(config)
    trainer.start_from(model_file.read(ZOO), ZOO)
    images_seen = int(model_file.read(ZOO).metadata["images_seen"])
    assert trainer.state.images_seen == images_seen
    loss, _ = trainer.step()
    assert loss < 0.35
    assert trainer.state.images_seen == images_seen + 16
    assert trainer.data.classes == nouns.classes()


def test_a_start_from_another_network_is_refused_by_what_differs(folder: Path) -> None:
    trainer = trainer_of(small_config(folder))
    with pytest.raises(TrainError, match=r"its attn_resolutions is \[16\], the config.* is \[4\]"):
        trainer.start_from(model_file.read(ZOO), ZOO)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "torn.safetensors"
    for contents in (b"", b"\xff" * 64, ZOO.read_bytes()[:5000]):
        path.write_bytes(contents)
        with pytest.raises(TrainError, match=r"torn\.safetensors: not a \.safetensors model"):
            model_file.read(path)


def test_presets_are_kept_if_asked_and_a_file_is_replaced_if_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.toml").write_text(toml(small(training__images=16)))
    assert run_main("run", folder / "config.toml", folder / "run", "--threads=1") == 0
    assert "Finished: 16 images seen" in capsys.readouterr().out
    output, other = folder / "out.safetensors", folder / "other.safetensors"
    assert run_main("export", folder / "run", output) == 0
    assert "skip_tuning" not in model_file.read(output).metadata

    file = model_file.read(output)
    presets = '{"presets": []}'
    model_file.write(other, file.tensors, file.metadata | {"skip_tuning": presets}, force=False)
    arguments = ("export", folder / "run", output, "--skip_tuning_from", other)
    assert run_main(*arguments) == 1
    assert "exists" in capsys.readouterr().err
    assert run_main(*arguments, "--force") == 0
    assert model_file.read(output).metadata["skip_tuning"] == presets
