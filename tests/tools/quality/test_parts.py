"""Part scores say what is wrong with a set of images."""

import numpy as np
import pytest
from skipstream_data import nouns
from skipstream_quality.decode import Decoder
from skipstream_quality.parts import score

Drawn = tuple[nouns.Combinations, nouns.Pictures]


@pytest.fixture(scope="module")
def drawn(parts: nouns.Parts) -> Drawn:
    combinations = parts.draw(np.random.default_rng(11), 100)
    return combinations, parts.compose(combinations)


def test_real_pictures_are_right_in_everything(
    parts: nouns.Parts, decoder: Decoder, drawn: Drawn
) -> None:
    combinations, pictures = drawn
    scores = score(parts, decoder, pictures, combinations[:, nouns.HEAD])
    assert (scores.head, scores.exact, scores.every_part, scores.pixels) == (1, 1, 1, 1)
    assert scores.error == 0
    assert scores.distinct == 1
    assert scores.images == 100


def test_counts_pictures_with_another_head_than_requested(
    parts: nouns.Parts, decoder: Decoder, drawn: Drawn
) -> None:
    combinations, pictures = drawn
    heads = combinations[:, nouns.HEAD].copy()
    heads[:25] = (heads[:25] + 1) % parts.counts[nouns.HEAD]
    assert score(parts, decoder, pictures, heads).head == 0.75


def test_a_small_part_that_is_wrong_shows_although_the_picture_is_close(
    parts: nouns.Parts, decoder: Decoder, drawn: Drawn
) -> None:
    combinations, pictures = drawn
    pictures = pictures.copy()
    for i in range(50):
        combination = combinations[i]
        glasses = parts.covers[4][combination[4]]
        pictures[i][glasses] = (pictures[i][glasses].astype(np.int64) + 128) // 2
    scores = score(parts, decoder, pictures, combinations[:, nouns.HEAD])
    assert scores.exact == 1.0  # a mean over all pixels hides it
    assert scores.every_part == 0.5


def test_a_picture_drawn_again_and_again_has_no_diversity(
    parts: nouns.Parts, decoder: Decoder, drawn: Drawn
) -> None:
    combinations, pictures = drawn
    heads = np.repeat(combinations[:1, nouns.HEAD], 100)
    scores = score(parts, decoder, np.repeat(pictures[:1], 100, axis=0), heads)
    assert scores.distinct == 0.01
    assert scores.entropy == 0
    real = score(parts, decoder, pictures, combinations[:, nouns.HEAD])
    # 1 bit of backgrounds and at most log2 100 of each of the other three.
    assert 12 < real.entropy < 1 + 3 * np.log2(100)


def test_pixels_and_error_measure_how_far_a_picture_is(
    parts: nouns.Parts, decoder: Decoder, drawn: Drawn
) -> None:
    combinations, pictures = drawn[0][:20], drawn[1][:20]
    shifted = np.where(pictures < 128, pictures + 20, pictures - 20).astype(np.uint8)
    scores = score(parts, decoder, shifted, combinations[:, nouns.HEAD])
    assert scores.error == pytest.approx(20, abs=1.5)
    assert scores.pixels < 0.05
    assert scores.exact == 0


def test_refuses_heads_of_another_number(
    parts: nouns.Parts, decoder: Decoder, drawn: Drawn
) -> None:
    with pytest.raises(ValueError, match="heads"):
        score(parts, decoder, drawn[1], np.zeros(3, np.int64))
