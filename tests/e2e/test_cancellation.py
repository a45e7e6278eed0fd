"""Calls that are cancelled leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import random

import skipstream
from harness import NO_RETRY, Server, assert_same_image

CANCELS = 200
AT_ONCE = 40


async def cancel_after(client: skipstream.AsyncClient, events: int, seed: int) -> None:
    """Starts a long request and cancels it after this number of events; 0: at once."""
    stream = client.stream(seeds=seed, nfe=63, preview_every=2)
    async with contextlib.aclosing(stream):
        if events == 0:
            task = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)  # lets the call start
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return
        for _ in range(events):
            await anext(stream)


async def cancel_many(
    target: str, bystanders: list[skipstream.GenerateRequest]
) -> list[skipstream.GeneratedImage]:
    """200 cancels at random moments; returns what requests among them were given."""
    draw = random.Random(7)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(seed: int) -> None:
        async with gate:
            await cancel_after(client, draw.randrange(6), seed)

    async with skipstream.AsyncClient(target, retry=NO_RETRY) as client:
        results, *_ = await asyncio.gather(
            asyncio.gather(*(client.generate(request) for request in bystanders)),
            *(one(seed) for seed in range(CANCELS)),
        )
    return [images[0] for images in results]


def test_cancels_under_load_leak_no_slot_and_change_no_image(
    server: Server, client: skipstream.Client
) -> None:
    requests = [
        skipstream.make_request(seeds=seed, classes=seed, nfe=3 + 2 * seed, rho=0.95)
        for seed in range(8)
    ]
    before = [client.generate(request)[0] for request in requests]
    server.wait_idle()
    cancelled_before = server.metrics().value("cancelled_total")

    among = asyncio.run(cancel_many(server.target, requests))

    server.wait_idle()
    # One that was cancelled before it arrived is not counted.
    cancelled = server.metrics().value("cancelled_total") - cancelled_before
    assert CANCELS / 2 < cancelled <= CANCELS
    after = [client.generate(request)[0] for request in requests]
    for a, b, c in zip(before, among, after, strict=True):
        assert_same_image(a, b)
        assert_same_image(a, c)


def test_a_deadline_stops_the_work(server: Server, client: skipstream.Client) -> None:
    limit = client.model().limits.max_nfe
    # The cost of its evaluations is not known yet, so a deadline that it cannot meet does not
    # refuse it.
    client.load_model("second.safetensors", "unmeasured")
    try:
        client.generate(model="unmeasured", solver="euler", count=8, nfe=limit, timeout=0.2)
    except skipstream.TimedOut:
        server.wait_idle()
    else:
        raise AssertionError("eight images at the NFE limit in 0.2 s")
    finally:
        client.unload_model("unmeasured")
