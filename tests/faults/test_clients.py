"""Clients that end without a word, or stay and do not listen: only they lose."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import skipstream
from harness import PATIENCE, Server, binary, wait_until
from soak import http2
from soak.pool import Connection
from soak.proxy import Proxy
from soak.server import soak_server

SLOTS = 4
LONG = skipstream.make_request(solver="euler", nfe=1024, count=SLOTS, seeds=1)
SHORT = skipstream.make_request(solver="euler", nfe=3, seeds=1)
# More than the server keeps for one subscriber: 64 times 3 MiB.
MANY_LARGE = skipstream.make_request(
    solver="euler", nfe=1, count=64, seeds=1, format="raw", scale=64
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Work for minutes is accepted, however slow the machine.
    flags = ("--max_evaluations=1000000",)
    folder = tmp_path_factory.mktemp("clients")
    with soak_server(folder, *flags, slots=SLOTS, max_batch=SLOTS) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """A server that makes the same image before and after."""
    with running.client() as client:
        (before,) = client.generate(SHORT)
    running.wait_idle()
    yield running
    running.wait_idle()
    with running.client() as client:
        (after,) = client.generate(SHORT)
    assert after.data == before.data
    assert running.process.poll() is None


def test_kill_9_of_a_client_stops_its_work(server: Server, tmp_path: Path) -> None:
    cancelled = server.metrics().value("cancelled_total", stage="running")
    arguments = ["--count", str(SLOTS), "--nfe", "1023", "--server", server.target]
    with subprocess.Popen(
        [binary("skipstream"), "generate", *arguments, "--out", "{index}.png"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as client:
        wait_until(lambda: server.metrics().value("slots_in_use") == SLOTS, "its images are made")
        client.send_signal(signal.SIGKILL)
        client.wait(PATIENCE)
    wait_until(lambda: server.metrics().value("slots_in_use") == 0, "the slots are free")
    assert server.metrics().value("cancelled_total", stage="running") == cancelled + 1


def descriptors(server: Server) -> list[str]:
    """Of all files and connections it has open."""
    return os.listdir(f"/proc/{server.process.pid}/fd")


def connect(server: Server) -> socket.socket:
    host, _, port = server.target.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_connections_beyond_what_the_process_may_open_do_not_shut_the_door(server: Server) -> None:
    pid, limits = server.process.pid, resource.RLIMIT_NOFILE
    before = resource.prlimit(pid, limits)
    with server.client() as guest:
        guest.generate(SHORT)
        resource.prlimit(pid, limits, (256, before[1]))
        try:
            crowd = [connect(server) for _ in range(400)]
            wait_until(lambda: "too many open connections" in server.errors(), "some are refused")
            assert len(descriptors(server)) < 256
            guest.generate(SHORT)
            server.metrics()
            for connection in crowd:
                connection.close()
            wait_until(lambda: len(descriptors(server)) < 150, "the crowd is gone")
            with server.client() as newcomer:
                newcomer.generate(SHORT)
        finally:
            resource.prlimit(pid, limits, before)


def test_the_server_takes_the_descriptors_it_may_have(tmp_path: Path) -> None:
    limits = resource.RLIMIT_NOFILE
    soft, hard = resource.getrlimit(limits)
    resource.setrlimit(limits, (512, hard))
    try:
        with soak_server(tmp_path, slots=SLOTS, max_batch=SLOTS) as server:
            assert resource.prlimit(server.process.pid, limits) == (min(16_384, hard), hard)
    finally:
        resource.setrlimit(limits, (soft, hard))


def test_nobody_is_lost_where_not_even_one_descriptor_is_left(server: Server) -> None:
    """Clients that come meanwhile wait until there is one."""
    pid, limits = server.process.pid, resource.RLIMIT_NOFILE
    before = resource.prlimit(pid, limits)
    resource.prlimit(pid, limits, (8, before[1]))  # it has more than that already
    try:
        crowd = [connect(server) for _ in range(3)]
        wait_until(lambda: "Too many open files" in server.errors(), "it has noticed")
    finally:
        resource.prlimit(pid, limits, before)
    with server.client() as client:
        client.generate(SHORT)
    for connection in crowd:
        assert connection.recv(1), "the server greets"
        connection.close()


def test_a_client_that_vanishes_is_noticed_and_its_work_stopped(server: Server) -> None:
    """Nothing ends its connection; only the server's unanswered pings show it."""
    requests = 40  # work for minutes

    async def run() -> None:
        async with Proxy(server.target) as proxy:
            without_call = Connection(proxy.target)
            assert await without_call.generate(SHORT)
            connection = Connection(proxy.target)
            calls = [connection.start(LONG, timeout=100 * PATIENCE) for _ in range(requests)]
            for call in calls:
                assert (await call.read()).HasField("accepted")
            proxy.freeze()
            frozen_at = len(descriptors(server)) - 1
            waiting = server.metrics().value("waiting_requests")
            assert waiting > requests / 2
            await asyncio.to_thread(
                wait_until,
                lambda: server.metrics().value("waiting_requests") == 0,
                "the requests of the client are gone",
            )
            assert server.metrics().value("cancelled_total", stage="waiting") > waiting / 2
            await asyncio.to_thread(
                wait_until,
                lambda: len(descriptors(server)) < frozen_at,
                "the connection that had no call is closed",
            )
            await connection.close()
            await without_call.close()

    asyncio.run(run())


def test_a_reader_that_stops_is_given_up_and_the_others_go_on(server: Server) -> None:
    alone = server.metrics().value("requests_total", code="RESOURCE_EXHAUSTED")
    deaf = http2.Connection(server.target)
    deaf.send(http2.settings({0x4: 1 << 20}) + http2.call(1, MANY_LARGE.SerializeToString()))
    with server.client() as client:
        (image,) = client.generate(SHORT)
        wait_until(lambda: server.metrics().value("slots_in_use") == 0, "its work is stopped")
        assert client.generate(SHORT)[0].data == image.data
    # It listens again and hears why it gets no more.
    while not deaf.streams_ended:
        deaf.read(wait=1)
        deaf.give_back(1 << 24)
        deaf.send(http2.frame(http2.WINDOW_UPDATE, 0, 1, b"\x01\x00\x00\x00"))
    ended = server.metrics().value("requests_total", code="RESOURCE_EXHAUSTED")
    assert ended == alone + 1
    deaf.close()


def test_readers_that_never_read_do_not_keep_the_door_shut(tmp_path: Path) -> None:
    door = 8
    with soak_server(tmp_path, f"--max_requests={door}", "--write_timeout=2") as server:
        # They answer pings, so nothing is wrong with their connection.
        deaf = http2.Connection(server.target, {0x4: 0})
        for number in range(door):
            deaf.send(http2.call(2 * number + 1, SHORT.SerializeToString()))
        wait_until(lambda: server.metrics().value("nfe_count") == door, "all of them are accepted")
        with server.client() as client:
            assert is_full(client), "they have taken every place"

        def gone() -> bool:
            deaf.read()
            return deaf.streams_ended == door

        wait_until(gone, "the server has given them up")
        assert not deaf.told_to_go
        with server.client() as client:
            assert len(client.generate(SHORT)) == 1
        assert server.metrics().value("requests_total", code="CANCELLED") == door
        deaf.close()


def is_full(client: skipstream.Client) -> bool:
    try:
        client.generate(SHORT)
    except skipstream.ServerBusy as error:
        return error.reason == "QUEUE_FULL"
    return False


def test_a_reader_may_take_its_time(tmp_path: Path) -> None:
    """What counts is that it reads at all: the call as a whole takes longer than one write may."""
    with soak_server(tmp_path, "--write_timeout=2") as server:
        slow = http2.Connection(server.target, {0x4: 0})
        request = skipstream.make_request(solver="euler", nfe=1, count=8, seeds=1, format="raw")
        slow.send(http2.call(1, request.SerializeToString()))
        started = time.monotonic()
        while not slow.streams_ended:
            slow.read()
            time.sleep(0.1)  # this is how slow it is
            slow.send(http2.frame(http2.WINDOW_UPDATE, 0, 1, (250).to_bytes(4, "big")))
        assert time.monotonic() - started > 2.5
        assert server.metrics().value("requests_total", code="OK") == 1
        slow.close()
