"""Half of all requests are given up at a random moment; the other half must not notice."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from soak.pool import Connection, Pool, digests
from soak.progress import Progress
from soak.proxy import Proxy
from soak.statistics import percentile

AT_ONCE = 16
# Requests that share a connection which is closed or reset under them.
_TOGETHER = 3
# Share of the draws; an abort takes 1.5 requests on average, so that half of all survive.
_SURVIVE = 0.6


@dataclass
class Outcome:
    requests: int = 0
    survivors: int = 0
    aborted: Counter[str] = field(default_factory=Counter)  # by kind; it was too late for some
    finished_anyway: int = 0
    lost: int = 0  # survivors that did not get everything
    wrong_images: int = 0
    errors: list[str] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)  # (end, seconds)

    def p99_ratio(self) -> float:
        """Latency of survivors in the last third over that in the first."""
        ordered = [latency for _, latency in sorted(self.latencies)]
        third = max(1, len(ordered) // 3)
        return percentile(ordered[-third:], 99) / percentile(ordered[:third], 99)


class AbortSoak:
    """Sends `requests` of the pool, at most AT_ONCE at a time."""

    def __init__(
        self, target: str, pool: Pool, requests: int, seed: int, progress: Progress
    ) -> None:
        self._target = target
        self._pool = pool
        self._total = requests
        self._draw = random.Random(seed)
        self._progress = progress
        self.outcome = Outcome()
        self._usual = 0.1  # seconds a request takes, a moving average

    async def run(self) -> Outcome:
        # Survivors share connections with requests that are cancelled and that expire.
        connections = [Connection(self._target) for _ in range(2)]
        try:
            await asyncio.gather(*(self._work(connections[i % 2]) for i in range(AT_ONCE)))
        finally:
            for connection in connections:
                await connection.close()
        return self.outcome

    async def _work(self, connection: Connection) -> None:
        aborts: dict[str, Callable[[Connection], Awaitable[int]]] = {
            "cancelled": self._cancel,
            "expired": self._expire,
            "connection closed": self._close,
            "connection reset": self._reset,
        }
        while self.outcome.requests < self._total:
            self._progress.show(f"aborts: {self.outcome.requests} of {self._total} requests")
            if self._draw.random() < _SURVIVE:
                self.outcome.requests += 1
                await self._survive(connection)
            else:
                # Those that share a connection come several at a time: drawn less often.
                kind = self._draw.choices(list(aborts), (_TOGETHER, _TOGETHER, 1, 1))[0]
                count = await aborts[kind](connection)
                self.outcome.aborted[kind] += count

    async def _survive(self, connection: Connection) -> None:
        index = self._pool.draw(self._draw)
        self.outcome.survivors += 1
        start = time.monotonic()
        try:
            found = await connection.generate(self._pool.requests[index])
        except (grpc.aio.AioRpcError, EOFError) as error:
            self.outcome.lost += 1
            self.outcome.errors.append(str(error))
            return
        end = time.monotonic()
        self.outcome.latencies.append((end, end - start))
        self._usual += 0.05 * (end - start - self._usual)
        self._check(index, found)

    def _check(self, index: int, found: dict[int, str]) -> None:
        self.outcome.wrong_images += not self._pool.is_right(index, found)

    async def _to_the_end(self, index: int, call: grpc.aio.UnaryStreamCall) -> None:
        """Of a request that is being given up: if it makes it, its images must be right."""
        try:
            found = await digests(call)
        except (grpc.aio.AioRpcError, asyncio.CancelledError, EOFError):
            return
        self.outcome.finished_anyway += 1
        self._check(index, found)

    async def _cancel(self, connection: Connection) -> int:
        """After some of its events, the first one not yet there included."""
        self.outcome.requests += 1
        events = self._draw.randrange(8)
        call = connection.start(self._pool.requests[self._pool.draw(self._draw)])
        try:
            if events == 0:
                await asyncio.sleep(self._draw.uniform(0, 0.01))
            for _ in range(events):
                if await call.read() is grpc.aio.EOF:
                    self.outcome.finished_anyway += 1
                    break
        finally:
            call.cancel()
        return 1

    async def _expire(self, connection: Connection) -> int:
        self.outcome.requests += 1
        index = self._pool.draw(self._draw)
        timeout = self._draw.uniform(0.001, 1.2 * self._usual)
        await self._to_the_end(index, connection.start(self._pool.requests[index], timeout))
        return 1

    async def _several(self, connection: Connection) -> list[asyncio.Task[None]]:
        self.outcome.requests += _TOGETHER
        drawn = [self._pool.draw(self._draw) for _ in range(_TOGETHER)]
        calls = [(index, connection.start(self._pool.requests[index])) for index in drawn]
        tasks = [asyncio.create_task(self._to_the_end(index, call)) for index, call in calls]
        await asyncio.sleep(self._draw.uniform(0, 1.5 * self._usual))
        return tasks

    async def _close(self, _: Connection) -> int:
        connection = Connection(self._target)
        tasks = await self._several(connection)
        await connection.close()
        await asyncio.gather(*tasks)
        return len(tasks)

    async def _reset(self, _: Connection) -> int:
        async with Proxy(self._target) as proxy:
            connection = Connection(proxy.target)
            tasks = await self._several(connection)
            proxy.reset()
            await asyncio.gather(*tasks)
            await connection.close()
        return len(tasks)
