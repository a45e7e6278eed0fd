"""Images that carry nothing of the request that made them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skipstream
from harness import Cli, Server, pixels
from PIL import Image

SAMPLE: dict[str, Any] = {"seeds": 5, "classes": "cat", "nfe": 3}


def inpainting() -> skipstream.InputImage:
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    original = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3).astype(np.uint8)
    return skipstream.InputImage(original.tobytes(), mask=mask.tobytes())


def chunks(png: bytes) -> list[bytes]:
    """The types of a PNG's chunks."""
    types, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        types.append(png[at + 4 : at + 8])
        at += 12 + length
    return types


def test_the_png_has_nothing_but_pixels_and_they_are_the_same(
    exact_client: skipstream.Client,
) -> None:
    (plain,) = exact_client.generate(**SAMPLE, input_image=inpainting(), no_metadata=True)
    (usual,) = exact_client.generate(**SAMPLE, input_image=inpainting())
    assert set(chunks(plain.data)) == {b"IHDR", b"IDAT", b"IEND"}
    assert b"tEXt" in chunks(usual.data), "by default a PNG carries its request"
    assert np.array_equal(pixels(plain), pixels(usual))


@pytest.mark.parametrize("form", ["webp", "raw"])
def test_other_formats_are_as_before(exact_client: skipstream.Client, form: Any) -> None:
    (plain,) = exact_client.generate(**SAMPLE, format=form, no_metadata=True)
    (usual,) = exact_client.generate(**SAMPLE, format=form)
    assert plain.data == usual.data


def test_the_resolved_request_keeps_it_and_gives_the_same_bytes(
    exact_client: skipstream.Client,
) -> None:
    (made,) = exact_client.generate(**SAMPLE, no_metadata=True)
    assert made.resolved_request.output.no_metadata
    (again,) = exact_client.generate(made.resolved_request)
    assert again.data == made.data
    (usual,) = exact_client.generate(**SAMPLE)
    assert not usual.resolved_request.output.no_metadata


def test_a_request_sent_again_has_it_too_and_another_is_no_retry(
    exact_client: skipstream.Client,
) -> None:
    name = {"request_id": "no-metadata"}
    (made,) = exact_client.generate(**SAMPLE, **name, no_metadata=True)
    (kept,) = exact_client.generate(**SAMPLE, **name, no_metadata=True)
    assert kept.data == made.data
    with pytest.raises(skipstream.AlreadyExists):
        exact_client.generate(**SAMPLE, **name)


def test_the_command_has_a_flag_for_it(exact_server: Server, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(range(256)) * 12)
    (tmp_path / "mask").write_bytes(bytes(512) + b"\xff" * 512)
    result = cli(
        *("generate", "--server", exact_server.target, "--class", "cat", "--seed", "5-6"),
        *("--nfe", "3", "--image", "raw", "--mask", "mask", "--no_metadata", "--json"),
        *("--out", "{index}.png", "--grid", "sheet.png"),
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
    for name in ("0.png", "1.png", "sheet.png"):
        data = (tmp_path / name).read_bytes()
        assert set(chunks(data)) == {b"IHDR", b"IDAT", b"IEND"}, name
        Image.open(io.BytesIO(data)).load()


def test_the_help_says_that_an_inpainted_png_carries_the_original(cli: Cli) -> None:
    text = " ".join(cli("generate", "--help").stdout.split())
    assert "--no_metadata" in text
    assert "carries the whole original image" in text
