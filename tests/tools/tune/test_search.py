"""The search finds what is best, whatever the landscape, and looks where it should."""

import asyncio
import math
from collections.abc import Callable

import pytest
from skipstream_quality.settings import PLAIN, Tuning, two_levels
from skipstream_tune.search import Found, Plan, neighbours_of, profiles, search

Landscape = Callable[[float, float], float]
LOW, HIGH = 0.01, 50.0  # noise levels at which the landscapes below look at rho


def rho_at(tuning: Tuning, sigma: float, depth: float) -> float:
    """The server's computation, written from the documentation of the API."""
    rho = tuning.bottom + (tuning.top - tuning.bottom) * depth
    strength = 1.0
    if tuning.noise is not None:
        kind, value = tuning.noise
        if kind == "window":
            strength = 1.0 if value[0] <= sigma <= value[1] else 0.0
        elif kind == "ramp":
            share = math.log(sigma / 0.002) / math.log(80 / 0.002)
            strength = share if value == "strongest_at_high_sigma" else 1 - share
        elif sigma <= value[0][0]:
            strength = value[0][1]
        elif sigma >= value[-1][0]:
            strength = value[-1][1]
        else:
            raise AssertionError("no landscape looks between the knots")
    return 1 + strength * (rho - 1)


def find(distance: Callable[[Tuning], float], plan: Plan | None = None) -> tuple[Found, list[int]]:
    images_seen = []

    async def evaluate(tuning: Tuning, images: int) -> float:
        images_seen.append(images)
        # Fewer images, larger distances: mixing the two numbers would mislead the search.
        return distance(tuning) + 1000.0 / images

    return asyncio.run(search(plan or Plan(), evaluate)), images_seen


def test_finds_rho_at_both_ends_of_depth() -> None:
    def distance(t: Tuning) -> float:
        parts = [(rho_at(t, s, 0) - 0.9) ** 2 + (rho_at(t, s, 1) - 1.1) ** 2 for s in (LOW, HIGH)]
        return 10 + 1000 * sum(parts)

    found, _ = find(distance)
    assert found.tuning.bottom == pytest.approx(0.9, abs=0.02)
    assert found.tuning.top == pytest.approx(1.1, abs=0.02)


def test_finds_rho_on_both_sides_of_1_at_low_and_high_noise() -> None:
    def distance(t: Tuning) -> float:
        return 10 + 1000 * sum(
            (rho_at(t, LOW, d) - 1.1) ** 2 + (rho_at(t, HIGH, d) - 0.85) ** 2 for d in (0, 1)
        )

    found, _ = find(distance)
    assert rho_at(found.tuning, LOW, 0.5) == pytest.approx(1.1, abs=0.03)
    assert rho_at(found.tuning, HIGH, 0.5) == pytest.approx(0.85, abs=0.03)


def test_finds_the_noise_levels_where_rho_should_act() -> None:
    def distance(t: Tuning) -> float:
        return 10 + 1000 * sum(
            (rho_at(t, sigma, 0.5) - wanted) ** 2
            for sigma, wanted in ((0.05, 1), (1.5, 1.2), (3, 1.2), (9, 1.2), (20, 1))
        )

    smooth = Plan(sigma_split=(0.3, 6.0), rounds=8)

    def whole(t: Tuning) -> float:
        # Between knots nothing is said here, so only the other profiles take part.
        return math.inf if t.noise is not None and t.noise[0] == "knots" else distance(t)

    found, _ = find(whole, smooth)
    assert found.tuning.noise is not None
    kind, (low, high) = found.tuning.noise
    assert kind == "window"
    assert 0.05 < low <= 1.5
    assert 9.0 <= high < 20.0
    assert found.tuning.bottom == pytest.approx(1.2, abs=0.02)


def test_stays_at_rho_1_where_nothing_is_better() -> None:
    found, _ = find(lambda t: 10 + abs(t.bottom - 1) + abs(t.top - 1))
    assert found.tuning == PLAIN


def test_compares_only_distances_of_the_same_number_of_pictures() -> None:
    found, images = find(lambda t: 10 + abs(t.bottom - 0.95) + abs(t.top - 0.95))
    grid = 1 + 7 * len(Plan().rho)
    assert images[:grid] == [256] * grid
    assert set(images[grid:]) == {512}
    assert found.images == 512
    assert found.tuning.bottom == found.tuning.top == 0.95


def test_takes_the_same_way_every_time() -> None:
    ways: list[list[Tuning]] = [[], []]
    for way in ways:

        async def evaluate(tuning: Tuning, images: int, way: list[Tuning] = way) -> float:
            way.append(tuning)
            return float(hash((tuning.bottom, tuning.top, images)) % 1000)

        asyncio.run(search(Plan(), evaluate))
    assert ways[0] == ways[1]


def test_every_neighbour_is_something_the_server_takes() -> None:
    tunings = [
        Tuning(0.0, 2.0),
        two_levels(1.0, 2.0, 0.0015, 1.0, 0.0016, -1.0),
        Tuning(1.1, 1.1, ("window", (0.0, 1e6))),
        Tuning(0.9, 1.0, ("window", (0.3, 0.4))),
        *profiles((0.3, 5.0), 1.2).values(),
    ]
    for tuning in tunings:
        neighbours = neighbours_of(tuning, 1.0)
        assert len(neighbours) == len(set(neighbours)) >= 2
        for neighbour in neighbours:
            assert Tuning.from_json(neighbour.as_json()).as_json() == neighbour.as_json()
