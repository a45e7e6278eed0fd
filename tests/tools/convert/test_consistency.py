"""consistency-models checkpoints become model files of a DhariwalUNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checkpoints import Array, fixture, torch_legacy, torch_zip
from conversions import converted, values
from guided_diffusion import GuidedDiffusion
from skipstream_convert.errors import ConvertError


@pytest.fixture(scope="module")
def network() -> GuidedDiffusion:
    return GuidedDiffusion()


def wide(array: Array) -> Array:
    return array.astype(np.float32)


def test_the_configuration_is_derived(network: GuidedDiffusion) -> None:
    conversion = converted(torch_zip(network.tensors), resolution=32)
    assert conversion.kind == "consistency"
    assert conversion.network.preconditioning == "CMPrecond"
    config = conversion.network.config
    expected = {
        "model_type": "DhariwalUNet",
        "img_resolution": 32,
        "img_channels": 3,
        "label_dim": 5,
        "model_channels": 128,
        "channel_mult": [1, 1],
        "channel_mult_emb": 4,
        "num_blocks": 1,
        "attn_resolutions": [16],
        "sigma_min": 0.002,
        "sigma_max": 80.0,
        "sigma_data": 0.5,
    }
    assert {key: config[key] for key in expected} == expected
    assert conversion.network.num_skips == 4


def test_every_layer_comes_out_under_its_new_name(network: GuidedDiffusion) -> None:
    found = values(converted(torch_zip(network.tensors), resolution=32))
    old = network.tensors
    assert sum(a.size for a in found.values()) == sum(a.size for a in old.values())
    pairs = {
        "model.map_layer0.weight": "time_embed.0.weight",
        "model.map_layer1.bias": "time_embed.2.bias",
        "model.enc.32x32_conv.weight": "input_blocks.0.0.weight",
        "model.enc.32x32_block0.norm0.weight": "input_blocks.1.0.in_layers.0.weight",
        "model.enc.32x32_block0.conv0.weight": "input_blocks.1.0.in_layers.2.weight",
        "model.enc.16x16_down.affine.weight": "input_blocks.2.0.emb_layers.1.weight",
        "model.enc.16x16_block0.norm1.bias": "input_blocks.3.0.out_layers.0.bias",
        "model.enc.16x16_block0.conv1.weight": "input_blocks.3.0.out_layers.3.weight",
        "model.enc.16x16_block0.norm2.weight": "input_blocks.3.1.norm.weight",
        "model.enc.16x16_block0.proj.weight": "input_blocks.3.1.proj_out.weight",
        "model.dec.16x16_in0.conv0.weight": "middle_block.0.in_layers.2.weight",
        "model.dec.16x16_in0.norm2.bias": "middle_block.1.norm.bias",
        "model.dec.16x16_in1.conv0.weight": "middle_block.2.in_layers.2.weight",
        "model.dec.16x16_block0.skip.weight": "output_blocks.0.0.skip_connection.weight",
        "model.dec.16x16_block1.proj.bias": "output_blocks.1.1.proj_out.bias",
        "model.dec.32x32_up.conv1.weight": "output_blocks.1.2.out_layers.3.weight",
        "model.dec.32x32_block1.conv0.weight": "output_blocks.3.0.in_layers.2.weight",
        "model.out_norm.weight": "out.0.weight",
        "model.out_conv.weight": "out.2.weight",
    }
    for new, source in pairs.items():
        np.testing.assert_array_equal(found[new], wide(old[source]), err_msg=new)
    np.testing.assert_array_equal(found["model.map_label.weight"], wide(old["label_emb.weight"]).T)


def test_the_names_are_those_of_the_published_network() -> None:
    """As the reference of the ADM network, which has the same form at another width."""
    network = GuidedDiffusion(multipliers=(1, 2), classes=7)
    conversion = converted(torch_zip(network.tensors), resolution=16)
    assert values(conversion).keys() == fixture("adm-edm").parameters.keys()


def qkv_of(array: Array, layout: str) -> Array:
    """[part, head, channel]: q, k and v as the attention that reads this layout splits them."""
    heads = len(array) // 192
    if layout == "flash":
        return array.reshape(3, heads, 64)
    if layout == "legacy":
        return array.reshape(heads, 3, 64).transpose(1, 0, 2)
    return array.reshape(heads, 64, 3).transpose(2, 0, 1)


@pytest.mark.parametrize("layout", ["flash", "legacy"])
def test_attention_reads_the_same_q_k_and_v(network: GuidedDiffusion, layout: str) -> None:
    data = torch_zip(network.tensors)
    found = values(converted(data, resolution=32, qkv_layout=layout))
    old = network.tensors
    for new, source in (
        ("model.enc.16x16_block0.qkv", "input_blocks.3.1.qkv"),
        ("model.dec.16x16_in0.qkv", "middle_block.1.qkv"),
        ("model.dec.16x16_block1.qkv", "output_blocks.1.1.qkv"),
    ):
        bias = qkv_of(wide(old[f"{source}.bias"]), layout)
        np.testing.assert_array_equal(qkv_of(found[f"{new}.bias"], "edm"), bias)
        for column in (0, 77):
            weight = qkv_of(wide(old[f"{source}.weight"])[:, column, 0, 0], layout)
            np.testing.assert_array_equal(
                qkv_of(found[f"{new}.weight"][:, column, 0, 0], "edm"), weight
            )


def test_other_forms_of_the_same_network() -> None:
    for network, expected in (
        (GuidedDiffusion(classes=0), {"label_dim": 0}),
        (GuidedDiffusion(attention_rank=3), {"attn_resolutions": [32]}),
        (GuidedDiffusion(attention_from=0), {"attn_resolutions": [64, 32]}),
        (GuidedDiffusion(multipliers=(1, 1, 1)), {"attn_resolutions": [32, 16]}),
        (GuidedDiffusion(multipliers=(1,), blocks=2), {"num_blocks": 2, "channel_mult": [1]}),
        (GuidedDiffusion(dtype="<f4"), {"model_channels": 128}),
    ):
        prefixed = {f"module.{name}": tensor for name, tensor in network.tensors.items()}
        conversion = converted(torch_legacy(prefixed), resolution=64)
        config = conversion.network.config
        assert {key: config[key] for key in expected} == expected
        assert conversion.parameter_count == sum(a.size for a in network.tensors.values())


def test_the_teacher_of_a_distillation_is_an_option(network: GuidedDiffusion) -> None:
    data = torch_zip(network.tensors)
    conversion = converted(data, resolution=32, config={"sigma_min": 1e-12, "sigma_max": 120.0})
    assert conversion.network.config["sigma_min"] == 1e-12
    assert "--config sigma_min, sigma_max" in conversion.config_origin


def refusal(network: GuidedDiffusion, **options: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        converted(torch_zip(network.tensors), **({"resolution": 32} | options))
    return str(caught.value)


def test_what_edm_cannot_express_is_refused() -> None:
    assert "--resolution takes it" in refusal(GuidedDiffusion(), resolution=None)
    assert "use_scale_shift_norm is off" in refusal(GuidedDiffusion(scale_shift=False))
    assert "32 groups" in refusal(GuidedDiffusion(width=64))
    assert "not heads of 64" in refusal(GuidedDiffusion(width=160))
    assert "--qkv_layout takes one of: 'flash', 'legacy'" in refusal(
        GuidedDiffusion(), qkv_layout="new"
    )

    strided = GuidedDiffusion()
    strided.tensors["input_blocks.2.0.op.weight"] = np.ones((128, 128, 3, 3), "<f2")
    assert "strided convolution" in refusal(strided)


def test_tensors_that_do_not_fit_are_named() -> None:
    network = GuidedDiffusion()
    del network.tensors["input_blocks.3.1.norm.bias"]
    assert "tensor input_blocks.3.1.norm.bias is missing" in refusal(network)
    network = GuidedDiffusion()
    network.tensors["out.3.weight"] = np.ones(3, "<f2")
    assert "not of the configuration: 'out.3.weight'" in refusal(network)
    network = GuidedDiffusion()
    network.tensors["out.2.weight"] = np.ones((3, 128, 1, 1), "<f2")
    assert "tensor out.2.weight has shape [3, 128, 1, 1]" in refusal(network)
    network = GuidedDiffusion()
    network.tensors = {k: v for k, v in network.tensors.items() if "output_blocks.3" not in k}
    assert "4 input and 3 output blocks" in refusal(network)
    network = GuidedDiffusion()
    network.tensors = {k: v for k, v in network.tensors.items() if "input_blocks.2" not in k}
    assert "not numbered from 0 without gaps" in refusal(network)
