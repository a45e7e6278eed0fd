"""/metrics says what happened."""

from collections.abc import Callable

import pytest
import skipstream
from harness import Server

# Family name and type as scraped (counters without their _total).
FAMILIES = {
    "requests": "counter",
    "images": "counter",
    "evaluations": "counter",
    "rejected": "counter",
    "cancelled": "counter",
    "previews_dropped": "counter",
    "executor_failures": "counter",
    "request_duration_seconds": "histogram",
    "queue_seconds": "histogram",
    "time_to_first_image_seconds": "histogram",
    "evaluation_seconds": "histogram",
    "batch_rows": "histogram",
    "encode_seconds": "histogram",
    "nfe": "histogram",
    "waiting_requests": "gauge",
    "waiting_evaluations": "gauge",
    "running_samples": "gauge",
    "slots": "gauge",
    "slots_in_use": "gauge",
    "model_loaded": "gauge",
    "build_info": "gauge",
    "ready": "gauge",
}


@pytest.fixture
def quiet_server(new_server: Callable[..., Server]) -> Server:
    """One that nobody else talks to, so that counts are exact."""
    return new_server("--slots=8", "--max_requests=4")


def test_counts_match_known_traffic(quiet_server: Server) -> None:
    with quiet_server.client() as client:
        client.generate(seeds=1, count=3, nfe=5)
        client.generate(seeds=1, solver="euler", nfe=4, format="webp", preview_every=2)
        with pytest.raises(skipstream.InvalidRequest):
            client.generate(nfe=4)
        with pytest.raises(skipstream.NotFound):
            client.generate(model="nope")
    quiet_server.wait_idle()
    m = quiet_server.metrics()
    assert m.value("requests_total", model="nouns32", solver="heun", code="OK") == 1
    assert m.value("requests_total", model="nouns32", solver="euler", code="OK") == 1
    assert m.value("requests_total", code="INVALID_ARGUMENT") == 1
    assert m.value("requests_total", code="NOT_FOUND") == 1
    assert m.value("requests_total") == 4
    assert m.value("images_total", model="nouns32") == 4
    assert m.value("evaluations_total", model="nouns32") == 3 * 5 + 4
    assert m.value("batch_rows_sum") == 3 * 5 + 4
    assert m.value("evaluation_seconds_count") == m.value("batch_rows_count")
    assert m.value("nfe_count") == 2
    assert m.value("nfe_sum") == 5 + 4
    assert m.value("queue_seconds_count") == 4
    assert m.value("time_to_first_image_seconds_count") == 2
    assert m.value("request_duration_seconds_count", model="nouns32") == 2
    assert m.value("encode_seconds_count", format="png") == 3
    assert m.value("encode_seconds_count", format="webp") >= 1
    assert m.value("cancelled_total") == 0
    assert m.value("executor_failures_total") == 0
    assert m.value("slots") == 8
    assert m.value("model_loaded", model="nouns32") == 1
    assert m.value("build_info") == 1
    assert m.value("ready") == 1


def test_every_family_has_its_type_and_a_help_text(quiet_server: Server) -> None:
    with quiet_server.client() as client:
        client.generate(nfe=1)
    families = quiet_server.metrics().families
    for name, kind in FAMILIES.items():
        family = families.get(f"skipstream_{name}")
        assert family is not None, name
        assert family.type == kind, name
        assert family.documentation, name


def test_histograms_are_cumulative_and_end_in_infinity(quiet_server: Server) -> None:
    with quiet_server.client() as client:
        client.generate(count=4, nfe=9)
    for family in quiet_server.metrics().families.values():
        if family.type != "histogram":
            continue
        series: dict[tuple, list[tuple[float, float]]] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                labels = dict(sample.labels)
                bound = float(labels.pop("le"))
                key = tuple(sorted(labels.items()))
                series.setdefault(key, []).append((bound, sample.value))
        assert series, family.name
        for buckets in series.values():
            counts = [count for _, count in sorted(buckets)]
            assert counts == sorted(counts)
            assert sorted(buckets)[-1][0] == float("inf")


def test_a_refused_request_is_counted_by_reason(quiet_server: Server) -> None:
    with quiet_server.client() as client:
        running = [client.stream(solver="euler", nfe=500) for _ in range(4)]
        for events in running:
            assert isinstance(next(events), skipstream.Accepted)
        with pytest.raises(skipstream.ServerBusy) as caught:
            client.generate(nfe=1)
        for events in running:
            events.close()
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.retry_after is not None
    quiet_server.wait_idle()
    m = quiet_server.metrics()
    assert m.value("rejected_total", reason="QUEUE_FULL") == 1
    assert m.value("cancelled_total") == 4
