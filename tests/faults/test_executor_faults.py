"""What fails in the executor fails alone, is said where it belongs, and passes.

The server is the product's with another executor (tests/faults/server), told over a socket what is
to go wrong. Everything is seen from outside: gRPC, health, metrics.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import skipstream
from harness import PATIENCE, Server, wait_until
from soak.server import soak_server

SLOTS = 4

Generate = Callable[..., bytes]


class FaultyServer:
    def __init__(self, server: Server, control: Path) -> None:
        self.server = server
        self._control = control

    def order(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self._control))
            connection.sendall(command.encode() + b"\n")
            assert connection.makefile().readline() == "ok\n", command

    def value(self, name: str, **labels: str) -> float:
        return self.server.metrics().value(name, **labels)

    def ready(self) -> bool:
        with self.server.client() as client:
            return client.health().ready


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    folder = tmp_path_factory.mktemp("faulty")
    control = folder / "control"
    with soak_server(
        folder,
        slots=SLOTS,
        max_batch=SLOTS,
        program="skipstream-faulty-server",
        environment={"SKIPSTREAM_FAULTS": str(control)},
    ) as server:
        yield FaultyServer(server, control)


@pytest.fixture
def faulty(running: FaultyServer) -> Iterator[FaultyServer]:
    """A server that is well, and is well again afterwards, without having been started anew."""
    assert running.ready()
    yield running
    running.order("clear")
    running.server.wait_idle()
    assert running.server.process.poll() is None, running.server.errors()
    # The server tries again what failed three times after ten seconds at most.
    wait_until(running.ready, "readiness is back")


def ask(faulty: FaultyServer, seed: int, nfe: int = 4, **options: object) -> bytes:
    """The image of this seed, as it was sent."""
    with faulty.server.client() as client:
        (image,) = client.generate(
            seeds=seed, classes=0, solver="euler", nfe=nfe, timeout=PATIENCE, **options
        )
        return image.data


def failure_of(result: Future[bytes]) -> tuple[str, str]:
    """Why the one image of the request failed: the reason of the call, the message of the image."""
    error = result.exception(PATIENCE)
    assert isinstance(error, skipstream.GenerationFailed), error
    assert isinstance(error.__cause__, skipstream.ServerError)
    (failure,) = error.failures
    return error.__cause__.reason, failure.message


def fill_slots(
    faulty: FaultyServer, pool: ThreadPoolExecutor, nfe: int
) -> tuple[list[Future[bytes]], list[Future[bytes]]]:
    """As many requests as there are slots, running, and as many again, waiting for them."""
    faulty.order("slow_batches 1000 100")
    running = [pool.submit(ask, faulty, seed, nfe) for seed in range(SLOTS)]
    wait_until(lambda: faulty.value("running_samples") == SLOTS, "every slot is taken")
    waiting = [pool.submit(ask, faulty, SLOTS + seed) for seed in range(SLOTS)]
    wait_until(lambda: faulty.value("waiting_requests") == SLOTS, "as many wait")
    return running, waiting


def test_a_failed_batch_fails_its_own_samples_and_no_other(faulty: FaultyServer) -> None:
    alone = [ask(faulty, SLOTS + seed) for seed in range(SLOTS)]
    failures = faulty.value("executor_failures_total")
    with ThreadPoolExecutor(2 * SLOTS) as pool:
        running, waiting = fill_slots(faulty, pool, nfe=200)
        faulty.order("fail_batches 1")
        assert {failure_of(result)[0] for result in running} == {"EXECUTOR_FAILED"}
        assert faulty.ready(), "one failure is no reason to send traffic elsewhere"
        faulty.order("slow_batches 0 0")
        assert [result.result(PATIENCE) for result in waiting] == alone
    assert faulty.value("executor_failures_total") == failures + 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [("bad_alloc", "out of memory"), ("oom", "out of memory"), ("other", "an exception")],
)
def test_an_exception_in_a_batch_fails_its_own_samples_and_no_other(
    faulty: FaultyServer, kind: str, message: str
) -> None:
    alone = [ask(faulty, SLOTS + seed) for seed in range(SLOTS)]
    with ThreadPoolExecutor(2 * SLOTS) as pool:
        running, waiting = fill_slots(faulty, pool, nfe=200)
        faulty.order(f"throw {kind} 1")
        for result in running:
            reason, said = failure_of(result)
            assert reason == "EXECUTOR_FAILED"
            assert message in said
        faulty.order("slow_batches 0 0")
        assert [result.result(PATIENCE) for result in waiting] == alone


def test_a_sample_that_is_not_finite_fails_alone(faulty: FaultyServer) -> None:
    seeds = [100, 101, 102, 103]
    alone = {seed: ask(faulty, seed) for seed in seeds}
    faulty.order("poison 101 2")
    failed = faulty.value("executor_failures_total")
    with ThreadPoolExecutor(len(seeds)) as pool:
        results = {seed: pool.submit(ask, faulty, seed) for seed in seeds}
        reason, said = failure_of(results.pop(101))
        assert reason == "SAMPLE_FAILED"
        assert "not finite at step 2" in said
        for seed, result in results.items():
            assert result.result(PATIENCE) == alone[seed]
    # In one request too: the other images are delivered.
    with faulty.server.client() as client, pytest.raises(skipstream.GenerationFailed) as caught:
        client.generate(seeds=seeds, classes=0, solver="euler", nfe=4)
    delivered = {image.seed: image.data for image in caught.value.images}
    assert delivered == {seed: alone[seed] for seed in (100, 102, 103)}
    assert faulty.value("executor_failures_total") == failed, "the device is not to blame"
    assert faulty.ready()
    faulty.order("clear")
    assert ask(faulty, 101) == alone[101]


def test_when_nothing_works_readiness_says_so_until_something_does(faulty: FaultyServer) -> None:
    alone = ask(faulty, 7)
    faulty.order("fail_batches 1000")
    for attempt in range(3):
        assert faulty.ready(), attempt
        with pytest.raises(skipstream.GenerationFailed):
            ask(faulty, 7)
    wait_until(lambda: not faulty.ready(), "three failures in a row are too many")
    assert faulty.value("ready") == 0
    with faulty.server.client() as client:
        assert client.health().live, "restarting would not help"
    faulty.order("clear")
    assert ask(faulty, 7) == alone, "requests are still tried"
    assert faulty.ready()
    assert faulty.value("ready") == 1


def test_a_slow_step_delays_and_a_deadline_still_holds(faulty: FaultyServer) -> None:
    alone = ask(faulty, 7)
    faulty.order("slow_batches 1 1500")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, faulty, 7)
        wait_until(lambda: faulty.value("running_samples") == 1, "the slow step runs")
        with faulty.server.client() as client, pytest.raises(skipstream.TimedOut):
            client.generate(nfe=1, timeout=0.3)
        assert faulty.ready(), "slow is not broken"
        assert not slow.done(), "the deadline did not wait for the step"
        assert slow.result(PATIENCE) == alone


def test_without_slots_requests_wait_and_then_run(faulty: FaultyServer) -> None:
    alone = ask(faulty, 7)
    faulty.order("refuse_slots 5")
    assert ask(faulty, 7) == alone
    assert faulty.ready()


def test_a_cancel_takes_effect_while_the_executor_is_stuck(faulty: FaultyServer) -> None:
    faulty.order("slow_batches 1 1500")
    with faulty.server.client() as client:
        events = client.stream(nfe=1, seeds=1)
        assert isinstance(next(events), skipstream.Accepted)
        wait_until(lambda: faulty.value("running_samples") == 1, "the slow step runs")
        events.close()
        wait_until(lambda: faulty.value("slots_in_use") == 0, "the slot is free")
    assert faulty.value("running_samples") == 0
