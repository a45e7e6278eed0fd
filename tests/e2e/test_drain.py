"""SIGTERM: what was accepted is finished, nothing more is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest
import skipstream
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import PATIENCE, Server, wait_until

SLOTS = 4
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_sigterm_finishes_what_was_accepted_and_takes_nothing_more(
    new_server: Callable[..., Server],
) -> None:
    server = new_server(f"--slots={SLOTS}", f"--max_batch={SLOTS}", "--drain_timeout=60")

    def request(nfe: int, accepted: threading.Event) -> int:
        images = 0
        with server.client() as client:
            for event in client.stream(seeds=1, solver="euler", nfe=nfe, timeout=PATIENCE):
                match event:
                    case skipstream.Accepted():
                        accepted.set()
                    case skipstream.ImageReady():
                        images += 1
                    case skipstream.Completed():
                        return images
        raise AssertionError("the stream ended without Completed")

    def submit(nfe: int) -> list[Future[int]]:
        accepted = [threading.Event() for _ in range(SLOTS)]
        results = [pool.submit(request, nfe, event) for event in accepted]
        assert all(event.wait(PATIENCE) for event in accepted)
        return results

    with (
        ThreadPoolExecutor(2 * SLOTS) as pool,
        grpc.insecure_channel(server.target) as channel,
        server.client() as late,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="readiness"), timeout=PATIENCE
        )
        assert next(watch).status == SERVING
        assert late.health() == skipstream.Health(live=True, ready=True)
        running = submit(nfe=100)
        wait_until(lambda: server.metrics().value("running_samples") == SLOTS, "all slots taken")
        queued = submit(nfe=1)
        assert server.metrics().value("waiting_requests") == SLOTS

        server.terminate()

        assert next(watch).status == NOT_SERVING
        assert not any(result.done() for result in running + queued), "not-ready comes at once"
        assert late.health() == skipstream.Health(live=True, ready=False)
        with pytest.raises(skipstream.Unavailable) as caught:
            late.generate(nfe=1)
        assert caught.value.reason == "DRAINING"
        assert [result.result(PATIENCE) for result in running + queued] == [1] * (2 * SLOTS)
        watch.cancel()
    assert server.wait() == 0
    assert server.extra_output() == []


def test_an_idle_server_exits_at_once(new_server: Callable[..., Server]) -> None:
    server = new_server()
    server.terminate()
    assert server.wait() == 0


def test_a_second_signal_does_not_wait(new_server: Callable[..., Server]) -> None:
    server = new_server("--drain_timeout=600", "--max_nfe=2048")
    with server.client() as client:
        events = client.stream(solver="euler", nfe=2048, count=16)
        next(events)
        server.terminate()
        with grpc.insecure_channel(server.target) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="readiness"), timeout=PATIENCE
            )
            while next(watch).status != NOT_SERVING:  # the first signal has been seen
                pass
            server.terminate()
            assert server.wait() != 0
        with pytest.raises(skipstream.SkipstreamError):
            list(events)
