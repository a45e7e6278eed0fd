"""A tenant that floods, beside one that does not."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import skipstream
from harness import NO_RETRY, Server

from soak.statistics import percentile

VICTIM = "victim"
_NEIGHBOUR = "neighbour"

# Requests that keep the device busy, and ten times that number.
_BUSY = 2
_FLOOD = 20


def write_auth_file(folder: Path) -> Path:
    """Two tenants of the same weight; their tokens are called like them."""
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in (VICTIM, _NEIGHBOUR)}
    tokens = [
        {"sha256": digest, "tenant": name, "rights": ["generate"]}
        for name, digest in hashes.items()
    ]
    path = folder / "auth.json"
    path.write_text(
        json.dumps({"tokens": tokens, "tenants": {VICTIM: {}, _NEIGHBOUR: {}}}), encoding="utf-8"
    )
    return path


@dataclass(frozen=True)
class Latencies:
    """Of the victim's requests, in seconds."""

    busy: list[float]
    flooded: list[float]

    def p99_ratio(self) -> float:
        return percentile(self.flooded, 99) / percentile(self.busy, 99)

    def median_ratio(self) -> float:
        return percentile(self.flooded, 50) / percentile(self.busy, 50)


class _Load:
    """Keeps this number of requests of the neighbour in flight at any time."""

    def __init__(self, server: Server, in_flight: int) -> None:
        self._client = skipstream.Client(server.target, token=_NEIGHBOUR, retry=NO_RETRY)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(in_flight)]

    def _run(self) -> None:
        while not self._stop.is_set():
            self._client.generate(solver="euler", nfe=40, format="raw", priority="high")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()


def measure_tenants(server: Server, rounds: int, requests: int) -> Latencies:
    """The victim sends one request after the other; busy and flooded stretches take turns."""
    found = Latencies([], [])
    with skipstream.Client(server.target, token=VICTIM, retry=NO_RETRY) as client:
        for _ in range(rounds):
            for in_flight, latencies in ((_BUSY, found.busy), (_FLOOD, found.flooded)):
                with _Load(server, in_flight):
                    for seed in range(requests):
                        start = time.monotonic()
                        client.generate(seeds=seed, solver="euler", nfe=10, format="raw")
                        latencies.append(time.monotonic() - start)
    return found
