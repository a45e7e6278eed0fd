"""How much of a set of images is made of the parts, as numbers from 0 to 1 and bits.

Copies of training images are not looked for: the training set is every combination of the parts,
so an image whose parts are all exact is one of its tens of millions of members, and should be.
What could go wrong instead is that only few combinations are ever drawn; the entropies show that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from skipstream_data.nouns import HEAD, LAYERS, Parts, Pictures

from skipstream_quality.decode import Decoded, Decoder

# Mean absolute error, of 255, below which what was drawn is the part and not something like it.
EXACT_ERROR = 8.0
# A pixel is explained if no channel is further from the decoded image than this, of 255.
PIXEL_ERROR = 16


@dataclass(frozen=True)
class PartScores:
    """Means over a set of images; see `score`."""

    images: int
    # Share of images whose decoded head is the requested one.
    head: float
    # Share with a mean error under EXACT_ERROR against the decoded combination, all pixels
    # together.
    exact: float
    # Share where that holds for every part by itself, over the pixels where it is seen.
    every_part: float
    # Share of pixels within PIXEL_ERROR of the decoded image.
    pixels: float
    # Mean absolute error against the decoded image, of 255.
    error: float
    # Distinct combinations over images.
    distinct: float
    # Entropy in bits of the parts drawn, summed over the layers that a request does not fix. Biased
    # downwards for few images: compare with real images of the same number.
    entropy: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {key: round(float(value), 6) for key, value in asdict(self).items()}


def score(
    parts: Parts, decoder: Decoder, pictures: Pictures, heads: NDArray[np.int64]
) -> PartScores:
    """Scores of images [N, 32, 32, 3] for which these heads [N] were requested; N at least 1."""
    if not len(pictures) or heads.shape != (len(pictures),):
        raise ValueError(f"{len(pictures)} pictures cannot be scored with {len(heads)} heads")
    decoded = decoder.decode(pictures)
    errors = np.abs(pictures.astype(np.int16) - decoded.pictures)  # [N, 32, 32, 3]
    by_picture = errors.mean(axis=(1, 2, 3))
    combinations = decoded.combinations
    return PartScores(
        images=len(pictures),
        head=float(_same_head(parts, combinations[:, HEAD], heads).mean()),
        exact=float((by_picture < EXACT_ERROR).mean()),
        every_part=float((worst_part_errors(decoded, errors) < EXACT_ERROR).mean()),
        pixels=float((errors.max(axis=3) <= PIXEL_ERROR).mean()),
        error=float(by_picture.mean()),
        distinct=len(np.unique(combinations, axis=0)) / len(combinations),
        entropy=sum(_entropy(combinations[:, i]) for i in range(len(LAYERS)) if i != HEAD),
    )


def worst_part_errors(decoded: Decoded, errors: NDArray[np.int16]) -> NDArray[np.float64]:
    """[N]: the largest of the mean errors of the parts, each over the pixels where it is seen."""
    by_pixel = errors.mean(axis=3)
    worst = np.zeros(len(errors))
    for layer in range(len(LAYERS)):
        seen = decoded.visible == layer
        count = seen.sum(axis=(1, 2))
        total = (by_pixel * seen).sum(axis=(1, 2))
        worst = np.maximum(worst, total / np.maximum(count, 1))
    return worst


def _same_head(
    parts: Parts, found: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """By what is drawn, not by name: two files could hold the same image."""
    same = found == wanted
    for i in np.flatnonzero(~same):
        a, b = found[i], wanted[i]
        cover = parts.covers[HEAD][a]
        same[i] = np.array_equal(cover, parts.covers[HEAD][b]) and np.array_equal(
            parts.colors[HEAD][a][cover], parts.colors[HEAD][b][cover]
        )
    return np.asarray(same)


def _entropy(values: NDArray[np.int64]) -> float:
    counts = np.unique(values, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
