"""All measures of one set of images of the parts model, and what real images score."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skipstream_data import nouns

from skipstream_quality.decode import Decoder
from skipstream_quality.encoders import Encoder
from skipstream_quality.errors import QualityError
from skipstream_quality.files import write_array, write_json
from skipstream_quality.frechet import Gaussian, distance
from skipstream_quality.parts import score
from skipstream_quality.service import Run, classes_of

# Streams of random numbers: the reference must not share images with the sets that give the
# floor.
_REFERENCE_STREAM = 0
_FLOOR_STREAM = 1
_BLOCK = 1024


class Measure:
    """Scores sets of images against the parts and `reference_images` fresh real images."""

    def __init__(
        self, classes: Sequence[str], encoder: Encoder, reference_images: int, cache: Path
    ) -> None:
        self._parts = nouns.load()
        try:
            self._heads = self._parts.heads_of(classes)
        except KeyError as error:
            raise QualityError(f"the model does not draw these parts: {error.args[0]}") from error
        if not len(self._heads):
            raise QualityError("the model has no class names; they must be heads of data/nouns")
        self._decoder = Decoder(self._parts)
        self._encoder = encoder
        what = f"{encoder.name}|{reference_images}|{self._heads.tolist()}|{_code_digest()}"
        self._key = hashlib.sha256(what.encode()).hexdigest()[:16]
        self._reference = self._load_reference(reference_images, cache)

    def of_run(self, run: Run) -> dict[str, float]:
        """As `of`, kept beside the images."""
        file = run.folder / f"scores-{len(run.pictures)}-{self._key}.json"
        if file.exists():
            kept: dict[str, float] = json.loads(file.read_text())
            return kept
        scores = self.of(run.pictures)
        write_json(file, scores)
        return scores

    def of(self, pictures: nouns.Pictures) -> dict[str, float]:
        """Scores of the first N images of a run; "fd" is the Fréchet distance."""
        if len(pictures) < 2:
            raise QualityError("measuring needs 2 pictures or more")
        heads = self._heads[classes_of(len(pictures), len(self._heads))]
        scores = score(self._parts, self._decoder, pictures, heads).as_dict()
        gaussian = Gaussian.of(self._encoder.features(pictures))
        scores["fd"] = round(distance(gaussian, self._reference), 4)
        return scores

    def of_real(self, images: int, seed: int) -> dict[str, float]:
        """The floor: what as many fresh real images of the same classes score."""
        generator = np.random.default_rng([_FLOOR_STREAM, seed])
        combinations = self._parts.draw(generator, images)
        heads = self._heads[classes_of(images, len(self._heads))]
        combinations[:, nouns.HEAD] = heads
        return self.of(self._parts.compose(combinations))

    def _load_reference(self, images: int, cache: Path) -> Gaussian:
        key = f"{self._encoder.name}|{images}|{self._heads.tolist()}|{self._parts.names}"
        file = cache / f"reference-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
        if file.exists():
            table = np.load(file)
            return Gaussian(table[0], table[1:], images)
        generator = np.random.default_rng([_REFERENCE_STREAM, 0])
        features = []
        for start in range(0, images, _BLOCK):
            count = min(_BLOCK, images - start)
            combinations = self._parts.draw(generator, count, self._heads)
            features.append(self._encoder.features(self._parts.compose(combinations)))
        gaussian = Gaussian.of(np.concatenate(features))
        write_array(file, np.vstack([gaussian.mean, gaussian.covariance]))
        return gaussian


def _code_digest() -> str:
    """Of the code that computes the scores: kept ones are for the code that made them."""
    here = Path(__file__).parent
    files = ("decode.py", "encoders.py", "frechet.py", "measure.py", "parts.py")
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in files)).hexdigest()


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and, of two or more values, sample standard deviation."""
    mean = float(np.mean(values))
    return {"mean": mean, "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}
