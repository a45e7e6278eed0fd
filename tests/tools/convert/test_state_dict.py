"""state_dicts of EDM networks, as DMD2 distributes them, become model files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from checkpoints import (
    Array,
    Call,
    Fixture,
    Name,
    View,
    fixture,
    small_fixture,
    state_dict,
    torch_legacy,
    torch_zip,
    zip_file,
)
from conversions import converted, values
from skipstream_convert.errors import ConvertError

Container = Callable[[Mapping[str, Array | View]], bytes]

FIXTURES = (
    *("ddpmpp-edm", "ddpmpp-vp", "ncsnpp-ve", "adm-edm"),
    *("variant-song-ve-skip", "variant-song-edm-residual", "variant-adm-cm"),
)
# No parameter shows these.
WITHOUT_TRACE = ("sigma_min", "sigma_max", "sigma_data", "label_dropout", "use_fp16", "dropout")


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("container", [torch_zip, torch_legacy])
@pytest.mark.parametrize("name", FIXTURES)
def test_the_configuration_is_derived(name: str, container: Container) -> None:
    model = fixture(name)
    conversion = converted(container(model.tensors), preconditioning=model.preconditioning)
    assert conversion.kind == "state_dict"
    assert_same(values(conversion), model.parameters)
    derived = dict(conversion.network.config)
    # A resolution with attention leaves a trace if the network has it, and ADM's 64 channels to a
    # head.
    config = model.config
    least = 64 if config["model_type"] == "DhariwalUNet" else 1
    traced = [
        config["img_resolution"] >> level
        for level, multiplier in enumerate(config["channel_mult"])
        if config["img_resolution"] >> level in config["attn_resolutions"]
        and config["model_channels"] * multiplier >= least
    ]
    if name == "adm-edm":
        assert traced == [8]
    expected = {k: v for k, v in config.items() if k not in WITHOUT_TRACE}
    expected["attn_resolutions"] = traced
    assert {key: derived[key] for key in expected} == expected


@pytest.mark.parametrize("prefix", ["", "module.", "generator.", "feedforward_model.", "a.b.c."])
def test_prefixes_of_wrappers_are_dropped(prefix: str) -> None:
    model = small_fixture()
    data = torch_zip({prefix + name: tensor for name, tensor in model.tensors.items()})
    conversion = converted(data, preconditioning="EDMPrecond")
    assert_same(values(conversion), model.parameters)
    assert conversion.notes == ()


def test_a_network_without_its_preconditioner() -> None:
    model = small_fixture()
    tensors = {name.removeprefix("model."): tensor for name, tensor in model.tensors.items()}
    conversion = converted(torch_zip(tensors), preconditioning="EDMPrecond")
    assert_same(values(conversion), model.parameters)


def test_one_of_several_networks_is_chosen_by_name() -> None:
    model = small_fixture()
    both: dict[str, Array | View] = {f"fake.{k}": v for k, v in model.tensors.items()}
    both |= {f"real.{k}": 2 * v for k, v in model.tensors.items() if "filter" not in k}
    both["cls_branch.0.weight"] = np.ones((3, 3), "<f4")
    data = torch_zip(both)
    with pytest.raises(ConvertError, match=r"several networks.*'fake.model', 'real.model'"):
        converted(data, preconditioning="EDMPrecond")
    with pytest.raises(ConvertError, match=r"no network 'G'.*'fake.model', 'real.model'"):
        converted(data, preconditioning="EDMPrecond", network="G")
    for network in ("real", "real.", "real.model"):
        conversion = converted(data, preconditioning="EDMPrecond", network=network)
        found = values(conversion)
        name = "model.map_layer0.weight"
        np.testing.assert_array_equal(found[name], 2 * model.tensors[name])
        assert "left out" in conversion.notes[0]


def test_a_dict_of_state_dicts() -> None:
    model = small_fixture()
    inner, storages = state_dict(model.tensors)
    root = {"step": 7, "model": inner, "optimizer": {"state": {0: {"lr": 0.1}}}}
    conversion = converted(zip_file(root, storages), preconditioning="EDMPrecond")
    assert_same(values(conversion), model.parameters)


def test_the_metadata_of_an_ordered_dict_is_passed_over() -> None:
    model = small_fixture()
    inner, storages = state_dict(model.tensors)
    pairs = [(name, tensor) for name, tensor in inner.items()]
    root = Call(Name("collections", "OrderedDict"), (pairs,), {"_metadata": OrderedDict(version=1)})
    conversion = converted(zip_file(root, storages), preconditioning="EDMPrecond")
    assert_same(values(conversion), model.parameters)


def test_an_archive_with_64_bit_sizes() -> None:
    model = small_fixture()
    data = zip_file(*state_dict(model.tensors), zip64=True)
    assert_same(values(converted(data, preconditioning="EDMPrecond")), model.parameters)


def unfiltered(model: Fixture) -> dict[str, Array]:
    return {k: v for k, v in model.tensors.items() if "filter" not in k}


def test_what_cannot_be_derived_is_asked_for_or_said() -> None:
    model = small_fixture()
    with pytest.raises(ConvertError, match=r"--preconditioning takes one of: 'EDMPrecond'"):
        converted(torch_zip(model.tensors))
    conversion = converted(torch_zip(unfiltered(model)), preconditioning="EDMPrecond")
    assert "assumed: resample_filter [1, 1]" in conversion.config_origin

    ncsnpp = torch_zip(unfiltered(fixture("ncsnpp-ve")))
    with pytest.raises(ConvertError, match=r"--config resample_filter="):
        converted(ncsnpp, preconditioning="VEPrecond")
    conversion = converted(
        ncsnpp, preconditioning="VEPrecond", config={"resample_filter": [1, 3, 3, 1]}
    )
    assert conversion.network.config["resample_filter"] == [1, 3, 3, 1]
    assert "with --config resample_filter" in conversion.config_origin


@pytest.mark.parametrize(
    ("taps", "derived"),
    [
        ([1, 3, 3, 1], [1, 3, 3, 1]),
        ([0.5, 0.5], [1, 1]),
        ([-1, 9, 9, -1], [-1, 9, 9, -1]),
        ([0, 1, 1, 0], [0, 1, 1, 0]),
        ([1.0, 2.718, 3.142, 1.5], None),
        (list(range(1, 17)), list(range(1, 17))),
    ],
)
def test_any_filter_the_server_takes_is_derived(
    taps: list[float], derived: list[int] | None
) -> None:
    model = small_fixture()
    kernel = (np.outer(taps, taps) / np.sum(taps) ** 2).astype("<f4")[np.newaxis, np.newaxis]
    tensors = {k: kernel if "filter" in k else v for k, v in model.tensors.items()}
    conversion = converted(torch_zip(tensors), preconditioning="EDMPrecond")
    found = conversion.network.config["resample_filter"]
    if derived is None:
        np.testing.assert_allclose(found, np.array(taps) / np.sum(taps), rtol=1e-6)
    else:
        assert found == derived


def test_a_configuration_that_contradicts_the_tensors_is_refused() -> None:
    data = torch_zip(small_fixture().tensors)
    with pytest.raises(ConvertError, match="missing"):
        converted(data, preconditioning="EDMPrecond", config={"num_blocks": 3})
    with pytest.raises(ConvertError, match="leave out --resolution"):
        converted(data, preconditioning="EDMPrecond", resolution=32)


def test_files_of_other_networks_are_refused() -> None:
    data = torch_zip({"conv1.weight": np.ones((3, 3), "<f4")})
    with pytest.raises(ConvertError, match="holds no network that is known"):
        converted(data)
    with pytest.raises(ConvertError, match=r"no tensor \.\.\.map_layer0.weight"):
        converted(data, "state_dict", preconditioning="EDMPrecond")
    with pytest.raises(ConvertError, match=r"no layer model\.enc"):
        converted(
            torch_zip({"map_layer0.weight": np.ones((3, 3), "<f4")}), preconditioning="EDMPrecond"
        )
