"""Configurations: what is refused, and what is shipped."""

from pathlib import Path
from typing import Any

import pytest
from helpers import small, small_config, toml
from skipstream_train import config as configs
from skipstream_train.errors import TrainError
from skipstream_train.model_file import unet_config
from skipstream_train.unet import Denoiser

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__batch": None}, r"training\.batch is missing"),
        ({"training__bach": 3}, r"unknown key training\.bach"),
        ({"training__batch": "16"}, r"training\.batch must be a whole number"),
        ({"training__batch": True}, r"training\.batch must be a whole number"),
        ({"training__batch": 0}, r"training\.batch must be from 1"),
        ({"training__micro_batch": 5}, r"training\.micro_batch must divide"),
        ({"training__learning_rate": float("nan")}, r"training\.learning_rate must be a number"),
        ({"training__learning_rate": 2.0}, r"training\.learning_rate must be from"),
        ({"training__label_dropout": 1.0}, r"training\.label_dropout must be from 0 to 0\.99"),
        ({"training__cooldown_images": 97}, r"training\.cooldown_images must be from 0 to 96"),
        ({"training__precision": "half"}, r"training\.precision must be bfloat16 or float32"),
        ({"model__channel_mult": [1, "2"]}, r"model\.channel_mult must be a list of whole"),
        ({"model__channel_mult": []}, r"model\.channel_mult must not be empty"),
        ({"model__resolution": 9}, r"model\.resolution must be divisible by 2"),
        ({"model__attn_resolutions": [16]}, r"model\.attn_resolutions must be among 8, 4"),
        ({"model__model_channels": 9}, r"model\.model_channels must be even"),
        ({"model__model_channels": 10}, r"model\.model_channels gives a layer \d+ channels"),
        ({"data__kind": "web"}, r"data\.kind must be"),
        ({"data__folder": None}, r"data\.folder is missing"),
        ({"data__kind": "nouns", "data__folder": None}, r"model\.resolution must be 32"),
        ({"data__kind": "nouns"}, r"data\.folder is for"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        configs.parse(small(**changes), tmp_path)


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"unknown section \[optimizer\]"):
        configs.parse(small() | {"optimizer": {}}, tmp_path)


def test_a_file_that_is_not_toml_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[model\n")
    with pytest.raises(TrainError, match=r"broken\.toml"):
        configs.load(tmp_path / "broken.toml")


def test_a_file_says_what_the_values_in_it_say(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(toml(small(training__seed=5)))
    config = configs.load(tmp_path / "some.toml")
    assert config == small_config(tmp_path, training__seed=5)
    assert config.data.folder == str(tmp_path / "pictures")


@pytest.mark.parametrize(("name", "parameters"), [("nouns32", 3_956_291), ("nouns32-large", 9e6)])
def test_the_shipped_configurations_make_networks_of_their_size(
    name: str, parameters: float
) -> None:
    config = configs.load(ROOT / "tools/train_configs" / f"{name}.toml")
    net = Denoiser(unet_config(config, num_classes=64))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert parameters <= count <= 10_000_000
    assert config.training.label_dropout == 0.1


def test_only_the_end_of_a_run_may_change() -> None:
    def changed(**changes: Any) -> str | None:
        old, new = (configs.parse(small(**c), Path("/")).to_json() for c in ({}, changes))
        return configs.difference(old, new)

    assert changed(training__images=1000, output__log_images=3) is None
    assert changed(training__batch=8) == "training.batch"
    assert changed(model__num_blocks=2) == "model.num_blocks"
    assert changed(data__mirror=True) == "data.mirror"
