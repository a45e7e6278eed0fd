"""Features: what the encoders compute, and that the shipped one knows the parts."""

from pathlib import Path

import numpy as np
import pytest
from skipstream_data import nouns
from skipstream_quality.encoders import PartsEncoder, TextureEncoder
from skipstream_quality.errors import QualityError
from skipstream_quality.frechet import Gaussian, distance


def test_the_shipped_classifier_names_the_parts_of_fresh_pictures(
    parts: nouns.Parts, encoder: PartsEncoder
) -> None:
    combinations = parts.draw(np.random.default_rng(99), 300)
    found = encoder.classify(parts.compose(combinations))
    right = {
        name: (found[name] == combinations[:, i]).mean() for i, name in enumerate(nouns.LAYERS)
    }
    assert set(found) == set(nouns.LAYERS)
    for layer in ("background", "head", "glasses"):
        assert right[layer] > 0.98, right
    # Several accessories hide the body, and small ones hide behind heads.
    assert right["accessory"] > 0.9, right
    assert right["body"] > 0.75, right


def test_convolutions_are_what_a_loop_over_pixels_gives() -> None:
    generator = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    tensors = {
        **{"conv0.weight": values(2, 3, 3, 3), "conv0.bias": values(2)},
        **{"conv1.weight": values(4, 2, 3, 3), "conv1.bias": values(4)},
        **{"dense.weight": values(5, 16 * 16 * 4), "dense.bias": values(5)},
        "feature_scale": np.array([1, 2, 0.5, 1, 0], np.float32),
    }
    picture = generator.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    x = picture[0].astype(np.float64) / 127.5 - 1
    for i, stride in ((0, 1), (1, 2)):
        weight, bias = tensors[f"conv{i}.weight"], tensors[f"conv{i}.bias"]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        size = x.shape[0] // stride
        out = np.zeros((size, size, len(weight)))
        for row in range(size):
            for column in range(size):
                top, left = row * stride, column * stride
                window = padded[top : top + 3, left : left + 3]
                out[row, column] = np.einsum("yxc,ocyx->o", window, weight) + bias
        x = np.maximum(out, 0)
    hidden = np.maximum(tensors["dense.weight"] @ x.reshape(-1) + tensors["dense.bias"], 0)
    features = PartsEncoder(tensors).features(picture)
    np.testing.assert_allclose(features[0], hidden * tensors["feature_scale"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["parts", "texture"])
def test_worse_pictures_are_further_away(
    parts: nouns.Parts, encoder: PartsEncoder, kind: str
) -> None:
    features = encoder.features if kind == "parts" else TextureEncoder().features
    generator = np.random.default_rng(4)
    reference = Gaussian.of(features(parts.compose(parts.draw(generator, 800))))
    real = parts.compose(parts.draw(generator, 300))
    distances = [distance(Gaussian.of(features(real)), reference)]
    for amount in (0.25, 0.5, 1.0):
        shifted = [np.roll(real, 1, axis=axis).astype(np.float64) for axis in (1, 2)]
        blurred = real + amount * ((shifted[0] + shifted[1]) / 2 - real)
        distances.append(distance(Gaussian.of(features(blurred.astype(np.uint8))), reference))
    assert distances == sorted(distances)
    assert distances[-1] > 1.5 * distances[0]


def test_texture_features_do_not_depend_on_the_block_or_the_machine() -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (300, 16, 24, 3), dtype=np.uint8)
    encoder = TextureEncoder()
    together = encoder.features(pictures)
    alone = np.concatenate([encoder.features(pictures[i : i + 1]) for i in range(0, 300, 50)])
    np.testing.assert_allclose(together[::50], alone, rtol=1e-4, atol=1e-5)
    # A grey image has no texture away from its border, and its colour in every cell.
    grey = encoder.features(np.full((1, 64, 64, 3), 204, np.uint8))[0]
    np.testing.assert_allclose(grey[:48], 0.6, atol=1e-5)
    assert together.shape[1] == grey.shape[0]


def test_refuses_what_is_no_encoder_or_picture_of_its_size(
    tmp_path: Path, encoder: PartsEncoder
) -> None:
    file = tmp_path / "x.safetensors"
    for data in (b"", b"12345678", bytes(8) + b"{}", b"\x02" + bytes(7) + b"{}"):
        file.write_bytes(data)
        with pytest.raises(QualityError, match="holds no parts classifier"):
            PartsEncoder.load(file)
    with pytest.raises(QualityError, match="32x32"):
        encoder.features(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(QualityError, match="16x16"):
        TextureEncoder().features(np.zeros((1, 8, 8, 3), np.uint8))
