"""Servers that end, in any way: clients that wait for them lose nothing."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import skipstream
from harness import PATIENCE, Server, binary
from soak.gateways import gateway
from soak.pool import Connection, Pool, make_pool
from soak.retrying import Tally, clients
from soak.server import soak_server

CLIENTS = 6
# Requests before, and after, something happens to a server.
SOME = 20

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicas")


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(soak_server(folder, **options))


@pytest.fixture(scope="module")
def pool(folder: Path) -> Pool:
    with soak_server(folder) as server:
        return asyncio.run(make_pool(server.target, 8, seed=5))


def assert_nothing_lost(tally: Tally) -> None:
    assert tally.errors == []
    assert tally.wrong_images == 0
    assert tally.done == tally.requests


def test_sigterm_under_load_finishes_every_accepted_request(start: Start, pool: Pool) -> None:
    server = start()
    finished: list[bool] = []
    refused: list[grpc.StatusCode] = []

    async def one(connection: Connection, index: int) -> bool:
        """True if the server took it."""
        call = connection.start(pool.requests[index])
        accepted = False
        found = 0
        try:
            async for event in call:
                accepted = accepted or event.HasField("accepted")
                found += event.HasField("image")
                if event.HasField("completed"):
                    finished.append(found == len(pool.references[index]))
        except grpc.aio.AioRpcError as error:
            if accepted:
                finished.append(False)
            refused.append(error.code())
        return accepted

    async def client(connection: Connection, first: int) -> None:
        index = first
        while await one(connection, index % len(pool.requests)):
            index += 1

    async def run() -> None:
        connections = [Connection(server.target) for _ in range(2)]
        tasks = [asyncio.create_task(client(connections[i % 2], i)) for i in range(2 * CLIENTS)]
        while len(finished) < SOME:
            await asyncio.sleep(0.01)
        server.terminate()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        for connection in connections:
            await connection.close()

    asyncio.run(run())
    assert server.wait() == 0
    assert all(finished)
    assert set(refused) == {grpc.StatusCode.UNAVAILABLE}
    assert len(refused) == 2 * CLIENTS, "every client was told in the end"


def test_clients_that_retry_survive_sigkill_and_a_restart(start: Start, pool: Pool) -> None:
    patient = skipstream.RetryPolicy(max_attempts=600, max_backoff=0.1)
    server = start()

    async def run() -> None:
        async with clients(server.target, pool, CLIENTS, patient) as tally:
            await tally.reach(SOME)
            server.kill()
            again = await asyncio.to_thread(start, listen=server.target)
            await tally.reach(tally.done + SOME)
            assert again.metrics().value("images_total") > 0
        assert_nothing_lost(tally)

    asyncio.run(run())


@pytest.mark.parametrize("end", ["kill", "terminate"])
@pytest.mark.parametrize("way", ["round_robin", "haproxy", "nginx"])
def test_one_of_two_replicas_ends_and_nothing_is_lost(
    start: Start, pool: Pool, tmp_path: Path, way: str, end: str
) -> None:
    replicas = [start(), start()]
    made = [replica.metrics().value("images_total") for replica in replicas]

    async def run(target: str) -> None:
        async with clients(target, pool, CLIENTS) as tally:
            await tally.reach(SOME)
            for replica, before in zip(replicas, made, strict=True):
                while replica.metrics().value("images_total") == before:
                    await tally.reach(tally.done + 1)  # both do their share
            getattr(replicas[0], end)()
            await tally.reach(tally.done + SOME)
        assert_nothing_lost(tally)

    with gateway(way, [replica.target for replica in replicas], tmp_path) as target:
        asyncio.run(run(target))
    if end == "terminate":
        assert replicas[0].wait() == 0


@pytest.mark.parametrize("way", ["round_robin", "haproxy", "nginx"])
def test_the_command_goes_on_with_the_other_replica(start: Start, tmp_path: Path, way: str) -> None:
    replicas = [start(), start()]
    sweep = ["--class", "0,1,2", "--seed", "1-4", "--nfe", "15,17,19,21,23,25", "--cross"]

    def command(server: str, name: str) -> subprocess.Popen[bytes]:
        (tmp_path / name).mkdir()
        # Few at a time, so that some are sent when both connections are there.
        out = ["--max_concurrent", "3", "--out", "{class}-{seed}-{nfe}.png"]
        return subprocess.Popen(
            [binary("skipstream"), "generate", *sweep, *out, "--server", server],
            cwd=tmp_path / name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    with (
        gateway(way, [replica.target for replica in replicas], tmp_path) as target,
        command(target, "disturbed") as disturbed,
    ):
        while not all(replica.metrics().value("images_total") for replica in replicas):
            assert disturbed.poll() is None, "it is done before both replicas had a share"
        replicas[0].kill()
        assert disturbed.wait(PATIENCE) == 0
    with command(replicas[1].target, "alone") as alone:
        assert alone.wait(PATIENCE) == 0
    images = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert len(images) == 3 * 4 * 6
    for name in images:
        again = (tmp_path / "disturbed" / name).read_bytes()
        assert again == (tmp_path / "alone" / name).read_bytes(), name
