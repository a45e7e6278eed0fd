"""Starting from an image, and making a part of it anew."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import skipstream
from harness import SOLVERS, few_evaluations, pixels
from PIL import Image, ImageOps
from skipstream import InputImage

SAMPLE = {"seeds": 5, "classes": "cat", "solver": "euler", "nfe": 5}


@pytest.fixture(scope="module")
def picture(exact_server: Any) -> Image.Image:
    """One that the model could have made: it did."""
    with exact_server.client() as client:
        return client.generate(seeds=77, classes="dog", nfe=19)[0].image.convert("RGB")


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


def distance(image: skipstream.GeneratedImage, picture: Image.Image) -> float:
    return float(np.abs(pixels(image) - values(picture)).mean())


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **({"lossless": True} if form == "WEBP" else {}))
    return file.getvalue()


def upper_half() -> Image.Image:
    """A mask that makes the upper half anew."""
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[:16] = 255
    return Image.fromarray(mask)


def test_strength_says_how_far_from_the_picture_the_image_goes(
    exact_client: skipstream.Client, picture: Image.Image
) -> None:
    def at(strength: float) -> float:
        (image,) = exact_client.generate(**SAMPLE, input_image=InputImage(picture, strength))
        return distance(image, picture)

    (unrelated,) = exact_client.generate(**SAMPLE)
    near, far = at(0.02), at(1.0)
    assert near < 2
    assert near < at(0.5) < far
    assert far > 0.5 * distance(unrelated, picture)


def test_all_evaluations_go_into_the_rest_of_the_schedule(
    exact_client: skipstream.Client, picture: Image.Image
) -> None:
    (image,) = exact_client.generate(**SAMPLE, input_image=picture)
    sampler = image.resolved_request.sampler
    assert sampler.nfe == 5
    assert len(sampler.explicit_levels.sigmas) == 5
    # Karras levels at u = 0.4, as the strength is 0.6 by default.
    start = ((1 - 0.4) * 80 ** (1 / 7) + 0.4 * 0.002 ** (1 / 7)) ** 7
    assert sampler.explicit_levels.sigmas[0] == pytest.approx(start)


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_the_mask_keeps_is_kept_exactly(
    client: skipstream.Client, picture: Image.Image, solver: str
) -> None:
    (image,) = client.generate(
        **(SAMPLE | {"solver": solver, "nfe": few_evaluations(solver)}),
        input_image=InputImage(picture, mask=upper_half()),
    )
    made, given = pixels(image), values(picture)
    assert np.array_equal(made[16:], given[16:])
    assert np.abs(made[:16] - given[:16]).mean() > 5


def test_a_black_mask_gives_the_picture_back_and_a_white_one_is_none(
    exact_client: skipstream.Client, picture: Image.Image
) -> None:
    black = Image.new("L", (32, 32), 0)
    white = Image.new("L", (32, 32), 255)
    (kept,) = exact_client.generate(**SAMPLE, input_image=InputImage(picture, mask=black))
    assert np.array_equal(pixels(kept), values(picture))
    (new,) = exact_client.generate(**SAMPLE, input_image=InputImage(picture, 0.6, white))
    (unmasked,) = exact_client.generate(**SAMPLE, input_image=InputImage(picture, 0.6))
    assert np.array_equal(pixels(new), pixels(unmasked))


def test_a_picture_may_come_in_any_form(
    exact_client: skipstream.Client, picture: Image.Image
) -> None:
    large = picture.resize((96, 96), Image.Resampling.NEAREST)
    with_alpha = picture.convert("RGBA")
    forms = [
        encoded(picture, "PNG"),
        encoded(picture, "WEBP"),
        picture.tobytes(),
        encoded(large, "PNG"),
        encoded(large, "WEBP"),
        encoded(with_alpha, "PNG"),
    ]
    images = [exact_client.generate(**SAMPLE, input_image=form)[0] for form in forms]
    for image in images[1:]:
        assert image.data == images[0].data


@pytest.mark.parametrize("mask", [None, upper_half()], ids=["whole", "inpainted"])
def test_an_image_from_a_picture_is_replayed_to_the_byte(
    exact_client: skipstream.Client, picture: Image.Image, mask: Image.Image | None
) -> None:
    (made,) = exact_client.generate(
        **(SAMPLE | {"solver": "dpmpp_2m_sde"}), input_image=InputImage(picture, 0.7, mask), scale=4
    )
    request = skipstream.request_from_png(made.data)
    assert request == made.resolved_request
    assert request.input_image.picture == picture.tobytes()
    assert not request.input_image.HasField("strength")
    (again,) = exact_client.generate(request)
    assert again.data == made.data


def test_an_image_can_be_the_next_one_s_picture(exact_client: skipstream.Client) -> None:
    (first,) = exact_client.generate(**SAMPLE)
    (second,) = exact_client.generate(**SAMPLE, input_image=InputImage(first.data, 0.02))
    assert distance(second, first.image) < 2


def test_pictures_work_together_with_guidance_and_skip_tuning(
    exact_client: skipstream.Client, picture: Image.Image
) -> None:
    (image,) = exact_client.generate(
        **SAMPLE,
        guidance=2.0,
        rho=0.9,
        input_image=InputImage(picture, mask=upper_half()),
    )
    assert np.array_equal(pixels(image)[16:], values(picture)[16:])


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_and_masks_are_used_the_way_up_that_exif_says(
    exact_client: skipstream.Client, picture: Image.Image, form: str, orientation: int
) -> None:
    def stored(image: Image.Image) -> bytes:
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x112] = orientation
        image.save(file, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
        return file.getvalue()

    def upright(data: bytes) -> Image.Image:
        return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))

    image, mask = stored(picture), stored(upper_half())
    (made,) = exact_client.generate(**SAMPLE, input_image=InputImage(image, mask=mask))
    sent = made.resolved_request.input_image
    assert sent.picture == upright(image).convert("RGB").tobytes()
    assert sent.mask == upright(mask).convert("L").tobytes()


def test_a_pil_image_is_sent_the_way_up_that_its_exif_says(
    exact_client: skipstream.Client, picture: Image.Image
) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x112] = 6
    picture.save(file, "JPEG", exif=exif)
    photo = Image.open(file)
    (made,) = exact_client.generate(**SAMPLE, input_image=photo)
    upright = ImageOps.exif_transpose(photo)
    assert made.resolved_request.input_image.picture == upright.tobytes()


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_is_refused(
    client: skipstream.Client, picture: Image.Image, form: str
) -> None:
    file = io.BytesIO()
    picture.save(file, form, save_all=True, append_images=[upper_half().convert("RGB")])
    with pytest.raises(skipstream.InvalidRequest, match="animated"):
        client.generate(**SAMPLE, input_image=file.getvalue())
