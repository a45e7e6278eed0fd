"""Results of a call to generate: events, encodings, previews, models."""

import asyncio

import grpc
import numpy as np
import pytest
import skipstream
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from harness import Server, pixels

REQUEST = {"seeds": 3, "classes": "cat", "nfe": 5}


def test_events_come_in_order_and_add_up(client: skipstream.Client) -> None:
    events = list(client.stream(count=2, nfe=5, preview_every=2))
    assert isinstance(events[0], skipstream.Accepted)
    assert isinstance(events[-1], skipstream.Completed)
    assert events[-1].evaluations == 10
    for index in range(2):
        mine = [
            e
            for e in events
            if (isinstance(e, skipstream.Progress) and e.image_index == index)
            or (isinstance(e, skipstream.ImageReady) and e.image.index == index)
        ]
        done = [e.evaluations_done for e in mine if isinstance(e, skipstream.Progress)]
        assert done == sorted(set(done))
        assert isinstance(mine[-1], skipstream.ImageReady)
        assert sum(isinstance(e, skipstream.ImageReady) for e in mine) == 1
    assert any(isinstance(e, skipstream.Preview) for e in events)


def test_previews_are_pictures_of_the_same_size(client: skipstream.Client) -> None:
    events = list(client.stream(**REQUEST, preview_every=2, scale=2))
    previews = [e for e in events if isinstance(e, skipstream.Preview)]
    assert {p.evaluations_done for p in previews} <= {2, 4}
    assert previews
    for preview in previews:
        assert preview.picture.image.size == (64, 64)


@pytest.mark.parametrize("encoding", ["webp", "raw"])
def test_every_encoding_holds_the_same_pixels(
    exact_client: skipstream.Client, encoding: str
) -> None:
    (png,) = exact_client.generate(**REQUEST)
    (other,) = exact_client.generate(**REQUEST, format=encoding)
    assert other.picture.format == encoding
    assert np.array_equal(pixels(png), pixels(other))


def test_scale_repeats_pixels(exact_client: skipstream.Client) -> None:
    (small,) = exact_client.generate(**REQUEST)
    (large,) = exact_client.generate(**REQUEST, scale=3)
    assert np.array_equal(pixels(small).repeat(3, axis=0).repeat(3, axis=1), pixels(large))


def test_without_classes_the_seed_chooses(client: skipstream.Client) -> None:
    names = client.model().class_names
    images = client.generate(seeds=[5, 70], nfe=1)
    assert [i.class_name for i in images] == [names[5], names[70 % len(names)]]


def test_the_default_model_is_described(client: skipstream.Client) -> None:
    assert client.models()[0].is_default
    model = client.model()
    assert (model.name, model.width, model.height, model.channels) == ("nouns32", 32, 32, 3)
    assert model.num_classes == len(model.class_names) == 64
    assert model.preconditioning == "EDMPrecond"
    assert len(model.sha256) == 64
    assert (model.limits.rho_min, model.limits.rho_max) == (0.0, 2.0)
    with pytest.raises(skipstream.NotFound, match="nouns32"):
        client.model("nope")


def test_reflection_lists_the_services(server: Server) -> None:
    with grpc.insecure_channel(server.target) as channel:
        services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {
        "skipstream.v1.ImageGeneration",
        "skipstream.v1.ModelControl",
        "grpc.health.v1.Health",
    } <= services


def test_the_asyncio_client_gets_the_same_images(exact_server: Server) -> None:
    async def generate() -> bytes:
        async with skipstream.AsyncClient(exact_server.target) as client:
            return (await client.generate(**REQUEST))[0].data

    with exact_server.client() as client:
        assert client.generate(**REQUEST)[0].data == asyncio.run(generate())
