"""Images are decoded into the parts they were composed of."""

import numpy as np
import pytest
from skipstream_data import nouns
from skipstream_quality.decode import Decoder


@pytest.mark.parametrize("noise", [0.0, 3.0, 12.0])
def test_decodes_every_real_picture_also_under_noise(
    parts: nouns.Parts, decoder: Decoder, noise: float
) -> None:
    generator = np.random.default_rng(7)
    pictures = parts.compose(parts.draw(generator, 150))
    noisy = np.clip(pictures + generator.normal(0, noise, pictures.shape).round(), 0, 255)
    decoded = decoder.decode(noisy.astype(np.uint8))
    # By what is seen: a part that others hide is not in the image.
    np.testing.assert_array_equal(decoded.pictures, pictures)
    np.testing.assert_array_equal(parts.compose(decoded.combinations), pictures)


def test_finds_the_best_part_of_a_picture_with_one_layer_from_elsewhere(
    parts: nouns.Parts, decoder: Decoder
) -> None:
    combination = parts.draw(np.random.default_rng(1), 1)
    picture = parts.compose(combination)
    owl, pizza = parts.index("head", "owl"), parts.index("head", "pizza")
    combination[0, nouns.HEAD] = owl
    owls = parts.compose(combination)
    combination[0, nouns.HEAD] = pizza
    pizzas = parts.compose(combination)
    mixed = np.where(np.arange(32)[None, :, None, None] < 28, owls, pizzas)
    found = decoder.decode(np.concatenate([owls, pizzas, mixed, picture]))
    assert found.combinations[:3, nouns.HEAD].tolist() == [owl, pizza, owl]


def test_visible_layers_are_those_that_give_each_pixel_its_colour(
    parts: nouns.Parts, decoder: Decoder
) -> None:
    pictures = parts.compose(parts.draw(np.random.default_rng(3), 10))
    decoded = decoder.decode(pictures)
    for i, (combination, visible) in enumerate(
        zip(decoded.combinations, decoded.visible, strict=True)
    ):
        rows, columns = np.indices((32, 32))
        colors = np.stack([parts.colors[k][part] for k, part in enumerate(combination)])
        np.testing.assert_array_equal(colors[visible, rows, columns], pictures[i])


def test_never_ends_worse_than_it_could_by_changing_one_layer(
    parts: nouns.Parts, decoder: Decoder
) -> None:
    generator = np.random.default_rng(5)
    blurred = parts.compose(parts.draw(generator, 6)).astype(np.int64)
    blurred = (blurred + np.roll(blurred, 1, axis=1) + np.roll(blurred, 1, axis=2)) // 3
    pictures = np.concatenate(
        [blurred.astype(np.uint8), generator.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)]
    )
    decoded = decoder.decode(pictures)
    for picture, combination in zip(pictures, decoded.combinations, strict=True):
        best = _cost(picture, parts.compose(combination[None]))[0]
        for layer, count in enumerate(parts.counts):
            others = np.repeat(combination[None], count, axis=0)
            others[:, layer] = np.arange(count)
            assert best <= _cost(picture, parts.compose(others)).min() * (1 + 1e-5)


def test_refuses_pictures_of_another_size(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="32"):
        decoder.decode(np.zeros((1, 16, 16, 3), np.uint8))
    assert decoder.decode(np.zeros((0, 32, 32, 3), np.uint8)).combinations.shape == (0, 5)


def _cost(picture: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    errors = candidates.astype(np.float64) - picture
    return np.asarray(np.square(errors).sum(axis=(1, 2, 3)))
