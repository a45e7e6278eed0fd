"""EDM snapshots become model files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from checkpoints import (
    Array,
    Call,
    Fixture,
    ModuleTree,
    Name,
    Storage,
    View,
    bfloat16,
    dumps,
    edm_network,
    edm_pickle,
    fixture,
    persistent,
    small_fixture,
    whole,
)
from conversions import converted, values
from skipstream_convert.errors import ConvertError

FIXTURES = ("ddpmpp-edm", "ddpmpp-vp", "ncsnpp-ve", "adm-edm")


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope="module")
def small() -> Fixture:
    return small_fixture()


def test_the_small_fixture_converts(small: Fixture) -> None:
    data = edm_pickle(small.preconditioning, small.tensors, small.config)
    assert_same(values(converted(data)), small.parameters)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", FIXTURES)
def test_every_published_form_keeps_its_parameters(name: str, protocol: int) -> None:
    model = fixture(name)
    conversion = converted(edm_pickle(model.preconditioning, model.tensors, model.config, protocol))
    assert conversion.kind == "edm"
    assert conversion.network.preconditioning == model.preconditioning
    assert_same(values(conversion), model.parameters)
    config = conversion.network.config
    assert {key: config[key] for key in model.config} == model.config


def test_iddpm_has_twice_the_output_channels_and_drops_its_table_of_levels() -> None:
    model = fixture("adm-edm")
    out = {k: np.concatenate([v, v]) for k, v in model.tensors.items() if "out_conv" in k}
    tensors = model.tensors | out
    data = edm_pickle(
        "iDDPMPrecond",
        tensors | {"u": np.linspace(80, 0, 1001, dtype="<f4")},
        model.config | {"C_1": 0.001, "C_2": 0.008, "M": 1000},
    )
    conversion = converted(data)
    assert_same(values(conversion), model.parameters | out)
    assert conversion.network.config["M"] == 1000
    with pytest.raises(ConvertError, match="'u'"):
        converted(edm_pickle("EDMPrecond", model.tensors | {"u": np.ones(3, "<f4")}, model.config))
    with pytest.raises(ConvertError, match=r"out_conv.*\[3, 64, 3, 3\].*\[6, 64, 3, 3\]"):
        converted(edm_pickle("iDDPMPrecond", model.tensors, model.config))


def test_arguments_by_position_defaults_and_what_json_cannot_say(small: Fixture) -> None:
    named = {k: v for k, v in small.config.items() if k not in ("img_resolution", "img_channels")}
    named |= {"sigma_min": 0, "sigma_max": math.inf, "use_fp16": True, "dropout": 0.13}
    named |= {"channel_mult": tuple(small.config["channel_mult"])}
    named |= {"label_dropout": numpy_scalar(0.25)}
    data = edm_pickle("EDMPrecond", small.tensors, named, _init_args=(16, 3))
    config = converted(data).network.config
    assert config["img_resolution"] == 16
    assert config["channel_mult"] == [1, 2, 2]
    assert config["label_dropout"] == 0.25
    assert config["channel_mult_emb"] == 4  # the published default
    assert not {"sigma_min", "sigma_max", "use_fp16", "dropout"} & config.keys()


def numpy_scalar(value: float, package: str = "numpy.core", code: str = "f8") -> Call:
    dtype = Call(Name("numpy", "dtype"), (code, False, True), (3, "<", None, None, None, -1, -1, 0))
    raw = np.array(value, f"<{code}").tobytes()
    return Call(Name(f"{package}.multiarray", "scalar"), (dtype, raw))


@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize(("code", "value"), [("f4", 0.5), ("f8", 0.5), ("i8", 1), ("b1", True)])
def test_numpy_scalars(small: Fixture, package: str, code: str, value: Any) -> None:
    scalar = numpy_scalar(value, package, code)
    data = edm_pickle("EDMPrecond", small.tensors, small.config | {"sigma_data": scalar})
    if code == "b1":
        with pytest.raises(ConvertError, match="sigma_data must be a number"):
            converted(data)
    else:
        assert converted(data).network.config["sigma_data"] == value


def test_numpy_arrays_as_arguments(small: Fixture) -> None:
    dtype = Call(Name("numpy", "dtype"), ("i8", False, True), (3, "<", None, None, None, -1, -1, 0))
    raw = np.array([1, 2, 2], "<i8").tobytes()
    array = Call(
        Name("numpy.core.multiarray", "_reconstruct"),
        (Name("numpy", "ndarray"), (0,), b"b"),
        (1, (3,), dtype, False, raw),
    )
    data = edm_pickle("EDMPrecond", small.tensors, small.config | {"channel_mult": array})
    assert converted(data).network.config["channel_mult"] == [1, 2, 2]


def changed(small: Fixture, name: str, view: View) -> dict[str, Array | View]:
    return {**small.tensors, name: view}


WEIGHT = "model.map_layer1.weight"  # [16, 16]


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        (lambda w: whole(w.astype("<f2")), 2e-3),
        (bfloat16, 1e-2),
    ],
)
def test_halves_are_widened(small: Fixture, make: Any, tolerance: float) -> None:
    weight = small.tensors[WEIGHT]
    found = values(
        converted(edm_pickle("EDMPrecond", changed(small, WEIGHT, make(weight)), small.config))
    )
    np.testing.assert_allclose(found[WEIGHT], weight, rtol=tolerance, atol=1e-6)
    assert not np.array_equal(found[WEIGHT], weight)


def test_strided_views_and_offsets(small: Fixture) -> None:
    weight = small.tensors[WEIGHT]
    rows, columns = weight.shape
    padded = np.full(7 + weight.size, 9, "<f4")
    padded[7:] = weight.T.reshape(-1)
    view = View(Storage(padded), 7, weight.shape, (1, rows))
    assert columns == rows
    found = values(converted(edm_pickle("EDMPrecond", changed(small, WEIGHT, view), small.config)))
    np.testing.assert_array_equal(found[WEIGHT], weight)


def test_the_stride_of_a_single_element_does_not_matter(small: Fixture) -> None:
    name = "model.dec.16x16_block0.skip.weight"  # [4, 12, 1, 1]
    weight = small.tensors[name]
    view = View(Storage(weight.reshape(-1)), 0, weight.shape, (12, 1, 1 << 40, 77))
    found = values(converted(edm_pickle("EDMPrecond", changed(small, name, view), small.config)))
    np.testing.assert_array_equal(found[name], weight)


def test_tensors_may_share_a_storage(small: Fixture) -> None:
    names = ("model.map_layer0.bias", "model.map_layer1.bias")
    both = np.concatenate([small.tensors[name] for name in names])
    storage = Storage(both)
    views = {name: View(storage, 16 * i, (16,), (1,)) for i, name in enumerate(names)}
    found = values(converted(edm_pickle("EDMPrecond", {**small.tensors, **views}, small.config)))
    assert_same(found, small.parameters)


def test_other_networks_of_the_snapshot(small: Fixture) -> None:
    doubled = {k: 2 * v for k, v in small.tensors.items() if "filter" not in k}
    snapshot = {
        "ema": edm_network("EDMPrecond", small.tensors, small.config),
        "net": edm_network("EDMPrecond", doubled, small.config),
    }
    data = dumps(snapshot)
    np.testing.assert_array_equal(values(converted(data))[WEIGHT], small.tensors[WEIGHT])
    np.testing.assert_array_equal(values(converted(data, network="net"))[WEIGHT], doubled[WEIGHT])
    with pytest.raises(ConvertError, match=r"no network 'G'.*'ema', 'net'"):
        converted(data, network="G")


def test_a_network_without_a_snapshot_around_it(small: Fixture) -> None:
    data = dumps(edm_network("EDMPrecond", small.tensors, small.config))
    assert_same(values(converted(data)), small.parameters)


def refusal(data: bytes, **options: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        values(converted(data, **options))
    return str(caught.value)


def test_what_the_file_says_is_not_overruled_in_passing(small: Fixture) -> None:
    data = edm_pickle("EDMPrecond", small.tensors, small.config)
    assert "leave out --preconditioning" in refusal(data, preconditioning="VPPrecond")
    assert "leave out --resolution" in refusal(data, resolution=32)
    assert "channel_mult must be" in refusal(data, config={"channel_mult": "x"})


def test_tensors_that_do_not_fit_are_named(small: Fixture) -> None:
    less = {k: v for k, v in small.tensors.items() if k != WEIGHT}
    more = {**small.tensors, "model.extra.weight": np.ones((2, 2), "<f4")}
    wrong = changed(small, WEIGHT, whole(np.ones((16, 4), "<f4")))
    other = {
        **small.tensors,
        "model.enc.8x8_down.conv0.resample_filter": np.ones((1, 1, 2, 2), "<f4"),
    }
    for tensors, message in (
        (less, f"missing: '{WEIGHT}'"),
        (more, "not of the configuration: 'model.extra.weight'"),
        (wrong, f"{WEIGHT} has shape [16, 4]; the configuration needs [16, 16]"),
        (other, "is not the filter"),
    ):
        assert message in refusal(edm_pickle("EDMPrecond", tensors, small.config))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(small: Fixture, value: float) -> None:
    weight = small.tensors[WEIGHT].copy()
    weight[3, 5] = value
    for view in (whole(weight), whole(weight.astype("<f2")), bfloat16(weight)):
        data = edm_pickle("EDMPrecond", changed(small, WEIGHT, view), small.config)
        assert f"{WEIGHT} holds a value that is not finite" in refusal(data)


@pytest.mark.parametrize("dtype", ["<f8", "<i8", "<i4"])
def test_parameters_of_other_types_are_refused(small: Fixture, dtype: str) -> None:
    view = whole(small.tensors[WEIGHT].astype(dtype))
    message = refusal(edm_pickle("EDMPrecond", changed(small, WEIGHT, view), small.config))
    assert "parameters are float32, float16 or bfloat16" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_resolution": 0}, "img_resolution must be an integer from 1 to 1024"),
        ({"img_resolution": 18}, "divisible by 2"),
        ({"model_channels": 2**30}, "model_channels must be"),
        ({"model_channels": 7}, "must be even"),
        ({"num_blocks": True}, "num_blocks must be"),
        ({"num_blocks": 10**9}, "num_blocks must be"),
        ({"channel_mult": []}, "channel_mult must not be empty"),
        ({"channel_mult": [1] * 200}, "channel_mult must be a list of at most 12"),
        ({"channel_mult": [1] * 1000}, "not a short list"),
        ({"attn_resolutions": [[8]]}, "'attn_resolutions' is not a short list"),
        ({"encoder_type": "evil"}, "'standard', 'skip', 'residual'"),
        ({"model_type": "EvilUNet"}, "'SongUNet', 'DhariwalUNet'"),
        ({"sigma_data": math.nan}, "'sigma_data' is not a number"),
        ({"sigma_data": -1.0}, "sigma_data must be a number"),
        ({"sigma_max": math.inf, "sigma_min": math.inf}, "sigma_min must be a number"),
        ({"surprise": 1}, "'surprise' is no argument of EDMPrecond with SongUNet; valid are"),
        ({"beta_d": 1.0}, "'beta_d' is no argument"),
        ({"label_dim": {}}, "'label_dim' is a dict"),
    ],
)
def test_arguments_out_of_range_are_named(
    small: Fixture, changes: dict[str, Any], message: str
) -> None:
    data = edm_pickle("EDMPrecond", small.tensors, small.config | changes)
    assert message in refusal(data)


def test_other_classes_and_forms_are_named(small: Fixture) -> None:
    assert "'Precond' is not one of 'EDMPrecond'" in refusal(
        edm_pickle("Precond", small.tensors, small.config)
    )
    state = ModuleTree(small.tensors).state()
    assert "without its constructor arguments" in refusal(
        dumps({"ema": persistent("EDMPrecond", state | {"_init_kwargs": None})})
    )
    assert "has no state" in refusal(dumps({"ema": persistent("EDMPrecond", [1])}))
    assert "holds no network that is known" in refusal(dumps({"step": 7}))
    assert "--network takes one of: none" in refusal(dumps({"step": 7}), format_name="edm")
