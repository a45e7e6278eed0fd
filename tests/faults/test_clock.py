"""The time of day is set while the server works: nothing depends on it."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import skipstream
from harness import BUILD, PATIENCE, Server, wait_until
from soak.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    Connection,
    frame,
    header_block,
    message,
)

HOUR = 3600


class SteppedServer:
    """A server whose wall clock is off by `step` seconds."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self.step(0)
        environment = {
            "LD_PRELOAD": str(BUILD / "tests/client/cli/libstepped_clock.so"),
            "STEPPED_CLOCK": str(self._offset),
            # In a build with AddressSanitizer, it would come first.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
        }
        self.server = Server("--threads=1", log=folder / "log", environment=environment)

    def step(self, seconds: int) -> None:
        mode = "r+b" if self._offset.exists() else "wb"
        with self._offset.open(mode) as file:
            file.write(struct.pack("q", seconds))


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[SteppedServer]:
    stepped = SteppedServer(tmp_path)
    yield stepped
    stepped.server.kill()


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_requests_and_metrics_do_not_notice(stepped: SteppedServer, seconds: int) -> None:
    server = stepped.server
    totals: list[float] = []

    def generate(timeout: float | None) -> None:
        with server.client() as client:
            options = {"nfe": 99, "seeds": 1, "count": 2, "solver": "euler", "timeout": timeout}
            events = list(client.stream(**options))
        assert isinstance(events[-1], skipstream.Completed)
        totals.append(events[-1].total_seconds)

    calls = [threading.Thread(target=generate, args=(limit,)) for limit in (300.0, None)]
    for call in calls:
        call.start()
    # More than one of them needs.
    wait_until(lambda: server.metrics().value("waiting_evaluations") > 2 * 99, "both are accepted")
    stepped.step(seconds)
    for call in calls:
        call.join(PATIENCE)
    assert len(totals) == 2, "both were completed"
    assert all(0 < total < PATIENCE for total in totals)
    metrics = server.metrics()
    for name in ("queue_seconds_sum", "request_duration_seconds_sum"):
        assert 0 <= metrics.value(name) < 2 * PATIENCE, name


def test_a_deadline_centuries_away_is_none(stepped: SteppedServer) -> None:
    server = stepped.server
    body = skipstream.make_request(nfe=1, solver="euler").SerializeToString()
    for timeout in ("2562047H", "99999999H", "99999999S"):
        connection = Connection(server.target)
        field = b"\x00\x0cgrpc-timeout" + bytes((len(timeout),)) + timeout.encode()
        connection.send(frame(HEADERS, END_HEADERS, 1, header_block() + field))
        connection.send(frame(DATA, END_STREAM, 1, message(body)))
        while not connection.streams_ended:
            connection.read(wait=PATIENCE)
        connection.close()
    assert server.metrics().value("requests_total", code="OK") == 3
