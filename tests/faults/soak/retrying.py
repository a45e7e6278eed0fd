"""Clients as users have them, with retries, while servers come and go."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import skipstream
from harness import PATIENCE

from soak.pool import Pool


@dataclass
class Tally:
    requests: int = 0
    done: int = 0
    wrong_images: int = 0
    errors: list[str] = field(default_factory=list)

    async def reach(self, done: int) -> None:
        """Waits until this number of requests has been answered in all."""
        async with asyncio.timeout(PATIENCE):
            while self.done < done:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def clients(
    target: str, pool: Pool, count: int, retry: skipstream.RetryPolicy | None = None
) -> AsyncIterator[Tally]:
    """Clients that send one request after another; leaving waits for their last ones."""
    tally = Tally()
    stopping = False
    draw = random.Random(3)

    async def work(client: skipstream.AsyncClient) -> None:
        while not stopping:
            index = pool.draw(draw)
            tally.requests += 1
            try:
                images = await client.generate(pool.requests[index], timeout=PATIENCE)
            except skipstream.SkipstreamError as error:
                tally.errors.append(f"{error.code.name} {error.reason}: {error}")
                continue
            found = {image.index: hashlib.sha256(image.data).hexdigest() for image in images}
            tally.done += 1
            tally.wrong_images += not pool.is_right(index, found)

    async with skipstream.AsyncClient(target, retry=retry) as client:
        tasks = [asyncio.create_task(work(client)) for _ in range(count)]
        try:
            yield tally
        finally:
            stopping = True
            await asyncio.gather(*tasks)
