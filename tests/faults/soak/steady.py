"""A well-behaved client beside whatever else goes on: requests at a steady rate."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import grpc

from soak.pool import Connection, Pool
from soak.statistics import percentile


@dataclass
class Window:
    """Outcomes of the requests that were sent in one stretch of time."""

    requests: int = 0
    lost: int = 0
    wrong_images: int = 0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: Window) -> None:
        self.requests += other.requests
        self.lost += other.lost
        self.wrong_images += other.wrong_images
        self.latencies += other.latencies
        self.errors += other.errors

    def p99(self) -> float:
        return percentile(self.latencies, 99)


class SteadyLoad:
    """`rate` requests a second, sent when it is their time even if none has been answered."""

    def __init__(self, target: str, pool: Pool, rate: float, seed: int) -> None:
        self._connection = Connection(target)
        self._pool = pool
        self._rate = rate
        self._draw = random.Random(seed)

    async def run(self, seconds: float) -> Window:
        """Until all that was sent in that time has been answered."""
        window = Window()
        deadline = time.monotonic() + seconds
        due = time.monotonic()
        tasks = []
        while due < deadline:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._one(window, due)))
            due += self._draw.expovariate(self._rate)
        await asyncio.gather(*tasks)
        return window

    async def _one(self, window: Window, due: float) -> None:
        index = self._pool.draw(self._draw)
        window.requests += 1
        try:
            found = await self._connection.generate(self._pool.requests[index])
        except (grpc.aio.AioRpcError, EOFError) as error:
            window.lost += 1
            window.errors.append(str(error))
            return
        window.latencies.append(time.monotonic() - due)
        window.wrong_images += not self._pool.is_right(index, found)

    async def close(self) -> None:
        await self._connection.close()


async def sustainable_rate(target: str, pool: Pool, share: float) -> float:
    """That share of what one client gets who sends one request after the other."""
    connection = Connection(target)
    start = time.monotonic()
    for request in pool.requests:
        await connection.generate(request)
    await connection.close()
    return share * len(pool.requests) / (time.monotonic() - start)
