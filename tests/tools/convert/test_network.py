"""Parameters that a configuration implies, against the published networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from checkpoints import FIXTURES, fixture
from skipstream_convert.network import make_network

# Constructor arguments of the published EDM models and their sizes (arXiv 2206.00364, Table 7 gives
# the arguments and the millions of parameters).
CIFAR10 = {
    "img_resolution": 32,
    "img_channels": 3,
    "model_type": "SongUNet",
    "model_channels": 128,
    "channel_mult": [2, 2, 2],
    "augment_dim": 9,
}
FFHQ = CIFAR10 | {"img_resolution": 64, "channel_mult": [1, 2, 2, 2]}
IMAGENET = {"img_resolution": 64, "img_channels": 3, "label_dim": 1000}


@pytest.mark.parametrize(
    ("arguments", "millions", "skips"),
    [(CIFAR10, 55.7, 15), (FFHQ, 61.8, 20), (IMAGENET, 295.9, 16)],
)
def test_published_networks(arguments: dict[str, object], millions: float, skips: int) -> None:
    network = make_network("EDMPrecond", arguments)
    count = sum(math.prod(shape) for shape in network.parameters().values())
    assert round(count / 1e6, 1) == millions
    assert network.num_skips == skips


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.safetensors")))
def test_names_shapes_and_filters_of_the_references(name: str) -> None:
    model = fixture(name)
    network = make_network(model.preconditioning, model.config)
    shapes = {key: array.shape for key, array in model.parameters.items() if key != "u"}
    assert network.parameters() == shapes
    stored = {k: v for k, v in model.tensors.items() if k.endswith("resample_filter")}
    assert network.filters().keys() == stored.keys()
    for key, kernel in network.filters().items():
        np.testing.assert_array_equal(kernel, stored[key], err_msg=key)


def test_skip_architecture_adds_auxiliary_layers() -> None:
    skip = {"encoder_type": "skip", "decoder_type": "skip"}
    arguments = {
        "img_resolution": 8,
        "img_channels": 3,
        "model_type": "SongUNet",
        "model_channels": 8,
        "channel_mult": [1, 2],
        "num_blocks": 1,
    }
    plain = make_network("VEPrecond", arguments)
    network = make_network("VEPrecond", arguments | skip)
    added = {k: v for k, v in network.parameters().items() if k not in plain.parameters()}
    assert added == {
        "model.enc.4x4_aux_skip.weight": (8, 3, 1, 1),
        "model.enc.4x4_aux_skip.bias": (8,),
        "model.dec.4x4_aux_norm.weight": (16,),
        "model.dec.4x4_aux_norm.bias": (16,),
        "model.dec.4x4_aux_conv.weight": (3, 16, 3, 3),
        "model.dec.4x4_aux_conv.bias": (3,),
    }
    filters = network.filters().keys() - plain.filters().keys()
    assert filters == {
        "model.enc.4x4_aux_down.resample_filter",
        "model.dec.8x8_aux_up.resample_filter",
    }
