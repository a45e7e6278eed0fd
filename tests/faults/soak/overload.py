"""Ten times the load that the device can take, with deadlines."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from dataclasses import dataclass, field

import grpc
import skipstream
from harness import PATIENCE

from soak.pool import Connection
from soak.statistics import percentile

OVERLOAD = 10
_NFE = 10
_IN_FLIGHT = 16  # what keeps the device busy
_DEADLINE = 3 * _IN_FLIGHT  # of every request, in times of one image


@dataclass
class Stretch:
    """Requests of one stretch of time."""

    served: list[float] = field(default_factory=list)  # when
    latencies: list[float] = field(default_factory=list)  # of those
    sent: int = 0
    refused: int = 0
    late: int = 0  # neither refused nor done by the deadline
    seconds: float = 0.0  # in which they were sent

    def images_per_second(self, begin: float, end: float) -> float:
        return sum(begin <= moment < end for moment in self.served) / (end - begin)


@dataclass(frozen=True)
class Round:
    capacity: float  # images a second when the device is busy and nobody is turned away
    goodput: float  # those delivered in time under overload
    overload: Stretch

    @property
    def ratio(self) -> float:
        return self.goodput / self.capacity

    @property
    def offered(self) -> float:
        """Times the capacity."""
        return self.overload.sent / self.overload.seconds / self.capacity


@dataclass(frozen=True)
class Overload:
    rounds: list[Round]

    def goodput_ratio(self) -> float:
        return statistics.median(one.ratio for one in self.rounds)

    def spread(self) -> tuple[float, float]:
        ratios = [one.ratio for one in self.rounds]
        return min(ratios), max(ratios)

    def offered(self) -> float:
        """Times the capacity, in the round with the least."""
        return min(one.offered for one in self.rounds)

    def late_percent(self) -> float:
        """Of what was not refused."""
        late = sum(one.overload.late for one in self.rounds)
        served = sum(len(one.overload.served) for one in self.rounds)
        return 100 * late / max(1, late + served)

    def p99(self) -> float:
        """Seconds until an image that was delivered; infinite if none was."""
        latencies = [s for one in self.rounds for s in one.overload.latencies]
        return percentile(latencies, 99) if latencies else math.inf


class _Clients:
    def __init__(self, target: str, seed: int) -> None:
        self._connection = Connection(target)
        self._draw = random.Random(seed)

    async def close(self) -> None:
        await self._connection.close()

    async def _one(self, stretch: Stretch, deadline: float = PATIENCE) -> None:
        request = skipstream.make_request(
            solver="euler", nfe=_NFE, format="raw", seeds=self._draw.randrange(2**32)
        )
        start = time.monotonic()
        stretch.sent += 1
        try:
            await self._connection.generate(request, timeout=deadline)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                stretch.late += 1
            elif error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                stretch.refused += 1
            else:
                raise
            return
        stretch.served.append(time.monotonic())
        stretch.latencies.append(stretch.served[-1] - start)

    async def capacity(self, seconds: float) -> float:
        """Images a second while a few clients send one request after the other, for that long and
        at least for a few images each."""
        stretch = Stretch()
        await asyncio.gather(*[self._one(stretch) for _ in range(_IN_FLIGHT)])
        begin, enough = time.monotonic(), len(stretch.served) + 2 * _IN_FLIGHT

        async def client() -> None:
            while time.monotonic() < begin + seconds or len(stretch.served) < enough:
                await self._one(stretch)

        await asyncio.gather(*[client() for _ in range(_IN_FLIGHT)])
        # Without the end, when fewer and fewer clients are left.
        return stretch.images_per_second(begin, stretch.served[-_IN_FLIGHT])

    async def overload(self, capacity: float, seconds: float) -> tuple[float, Stretch]:
        """Images a second of those delivered in time, of requests for ten times that many."""
        stretch = Stretch()
        deadline = _DEADLINE / capacity
        # Until the queue has reached its length.
        start = due = time.monotonic()
        begin = start + 2 * deadline
        tasks = []
        while due < begin + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._one(stretch, deadline)))
            due += self._draw.expovariate(OVERLOAD * capacity)
        stretch.seconds = time.monotonic() - start
        await asyncio.gather(*tasks)
        return stretch.images_per_second(begin, begin + seconds), stretch


async def measure_overload(target: str, rounds: int, seconds: float, seed: int) -> Overload:
    """Stretches at capacity and beyond take turns."""
    clients = _Clients(target, seed)
    found = []
    for _ in range(rounds):
        capacity = await clients.capacity(seconds)
        goodput, stretch = await clients.overload(capacity, seconds)
        found.append(Round(capacity, goodput, stretch))
    await clients.close()
    return Overload(found)
