"""Distinct requests, and the images that each of them must give."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import grpc
import skipstream
from harness import PATIENCE, SOLVERS, few_evaluations
from skipstream._proto.skipstream.v1 import image_generation_pb2_grpc

Digests = dict[int, str]  # of the images' bytes, by index

_NUM_CLASSES = 10  # of the small model


class Connection:
    """One connection to a server, shared with no other object; for one event loop."""

    def __init__(self, target: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._stub = image_generation_pb2_grpc.ImageGenerationStub(self._channel)

    def start(
        self, request: skipstream.GenerateRequest, timeout: float = PATIENCE
    ) -> grpc.aio.UnaryStreamCall:
        return self._stub.Generate(request, timeout=timeout)

    async def generate(
        self, request: skipstream.GenerateRequest, timeout: float = PATIENCE
    ) -> Digests:
        """Hash of the finished images; raises grpc.aio.AioRpcError unless all are there."""
        return await digests(self.start(request, timeout))

    async def close(self) -> None:
        await self._channel.close()


async def digests(call: grpc.aio.UnaryStreamCall) -> Digests:
    found: Digests = {}
    completed = False
    async for event in call:
        if event.HasField("image"):
            picture = event.image.picture
            found[event.image.image_index] = hashlib.sha256(picture.data).hexdigest()
        completed = completed or event.HasField("completed")
    if not completed:
        raise EOFError("the stream ended with OK and without Completed")
    return found


def draw_request(draw: random.Random) -> skipstream.GenerateRequest:
    """Any solver, class, seed, rho and format, at few evaluations."""
    solver = draw.choice([solver for solver in SOLVERS if solver != "consistency"])
    nfe = draw.choice((1, 3, 5)) if solver in ("heun", "dpm2") else draw.randint(1, 5)
    count = draw.choice((1, 1, 2))
    return skipstream.make_request(
        solver=solver,
        nfe=max(nfe, min(few_evaluations(solver), 3)),
        seeds=[draw.randrange(2**32) for _ in range(count)],
        classes=draw.randrange(_NUM_CLASSES),
        rho=draw.choice((0.7, 0.95, 1.0, 1.05, 1.3)),
        format=draw.choice(("png", "raw", "webp")),
        scale=draw.choice((1, 2)),
        preview_every=draw.choice((0, 0, 1)),
        priority=draw.choice(("low", "normal", "high")),
    )


@dataclass(frozen=True)
class Pool:
    """Requests with what each gave when it was alone."""

    requests: list[skipstream.GenerateRequest]
    references: list[Digests]

    def is_right(self, index: int, found: Digests) -> bool:
        return found == self.references[index]

    def draw(self, draw: random.Random) -> int:
        return draw.randrange(len(self.requests))


async def make_pool(target: str, size: int, seed: int) -> Pool:
    """Asks a server that has nothing else to do for one request after the other."""
    draw = random.Random(seed)
    requests = [draw_request(draw) for _ in range(size)]
    connection = Connection(target)
    references = [await connection.generate(request) for request in requests]
    await connection.close()
    return Pool(requests, references)
