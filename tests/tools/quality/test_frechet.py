"""The Fréchet distance of Gaussians."""

import numpy as np
import pytest
from skipstream_quality.frechet import Gaussian, distance


def test_equals_the_closed_form_where_covariances_commute() -> None:
    a = Gaussian(np.array([0.0, 0.0]), np.diag([4.0, 9.0]), 0)
    b = Gaussian(np.array([3.0, -4.0]), np.diag([1.0, 16.0]), 0)
    # |mu|^2 + sum of (sd_a - sd_b)^2
    assert distance(a, b) == pytest.approx(25 + 1 + 1)


def test_does_not_depend_on_order_or_on_rotating_both() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 6)) @ generator.normal(size=(6, 6))
    y = generator.normal(size=(400, 6)) @ generator.normal(size=(6, 6)) + 1
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    expected = distance(Gaussian.of(x), Gaussian.of(y))
    assert distance(Gaussian.of(y), Gaussian.of(x)) == pytest.approx(expected)
    rotated = distance(Gaussian.of(x @ rotation), Gaussian.of(y @ rotation))
    assert rotated == pytest.approx(expected)
    assert expected > 1


def test_is_zero_for_the_same_features_also_where_one_never_varies() -> None:
    x = np.random.default_rng(1).normal(size=(50, 4))
    x[:, 2] = 7
    assert distance(Gaussian.of(x), Gaussian.of(x)) == pytest.approx(0, abs=1e-9)


def test_needs_two_pictures() -> None:
    with pytest.raises(ValueError, match="2"):
        Gaussian.of(np.zeros((1, 3)))
