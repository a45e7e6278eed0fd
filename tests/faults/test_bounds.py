"""Requests that would take more memory or threads than they are worth, with and without tokens."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import skipstream
from harness import MEMORY_FACTOR, PATIENCE, Server
from soak.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GENERATE,
    HEADERS,
    Connection,
    frame,
    header_block,
)

MEBIBYTE = 1 << 20
# Allocators and connections take a little, too.
SMALL = 50 * MEBIBYTE * MEMORY_FACTOR
# gRPC holds this much at most for all requests that are arriving.
TRANSPORT = 512 * MEBIBYTE * MEMORY_FACTOR
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
TOKEN = "secret"


@pytest.fixture(params=["open", "tokens"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    flags = []
    if request.param == "tokens":
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        entry = {"sha256": digest, "tenant": "studio", "rights": ["generate"]}
        (tmp_path / "auth.json").write_text(
            json.dumps({"tokens": [entry], "tenants": {"studio": {}}})
        )
        flags = [f"--auth_file={tmp_path / 'auth.json'}"]
    with Server("--slots=4", *flags, log=tmp_path / "log") as server:
        yield server
        with skipstream.Client(server.target, token=TOKEN) as client:
            assert client.generate(nfe=1, solver="euler"), "others are served"


@functools.cache
def bomb(mebibytes: int) -> bytes:
    return gzip.compress(bytes(mebibytes * MEBIBYTE), 1)


def growth(server: Server, do: Callable[[], None]) -> int:
    before = server.resident_bytes()
    do()
    return server.resident_bytes() - before


def encoding(name: str) -> bytes:
    return b"\x00\x0dgrpc-encoding" + bytes((len(name),)) + name.encode()


def send(connection: Connection, data: bytes, *, until_over: bool = True) -> None:
    """Sends it on stream 1 as far as the server lets us, and waits for the end of the stream."""
    at, idle_since = 0, time.monotonic()
    while not connection.streams_ended and not connection.told_to_go:
        if at < len(data) and (sent := connection.send_as_allowed(1, data[at : at + 16384])):
            at, idle_since = at + sent, time.monotonic()
        elif not until_over and time.monotonic() > idle_since + 0.5:
            return
        else:
            assert time.monotonic() < idle_since + PATIENCE
            connection.read(wait=0.05)


@pytest.mark.parametrize("path", [GENERATE, HEALTH])
@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_a_compressed_request_is_not_unpacked(server: Server, path: str, name: str) -> None:
    data = b"\x01" + struct.pack(">I", len(bomb(400))) + bomb(400)

    def attack() -> None:
        connection = Connection(server.target)
        connection.read(wait=0.2)
        connection.stream_windows[1] = 65535
        connection.send(frame(HEADERS, END_HEADERS, 1, header_block(path) + encoding(name)))
        send(connection, data)
        connection.close()

    assert growth(server, attack) < SMALL


def test_a_compressed_message_that_does_not_say_so_is_not_unpacked(server: Server) -> None:
    data = b"\x01" + struct.pack(">I", len(bomb(60))) + bomb(60)

    def attack() -> None:
        connection = Connection(server.target)
        connection.read(wait=0.2)
        connection.stream_windows[1] = 65535
        connection.send(frame(HEADERS, END_HEADERS, 1, header_block()))
        send(connection, data, until_over=False)
        connection.send(frame(DATA, END_STREAM, 1))
        connection.read(wait=1)
        connection.close()

    assert growth(server, attack) < SMALL


def test_announced_gigabytes_are_bounded_for_all_together(server: Server) -> None:
    held = []

    def attack() -> None:
        for _ in range(3):
            connection = Connection(server.target)
            connection.read(wait=0.2)
            connection.open_stream(1)
            data = b"\x00" + struct.pack(">I", 2**31) + bytes(400 * MEBIBYTE)
            with contextlib.suppress(OSError):  # the server may hang up
                send(connection, data, until_over=False)
            held.append(connection)

    has_tokens = b"--auth_file" in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    # Without a token, nothing of the message is read. gRPC keeps to its quota roughly.
    assert growth(server, attack) < (SMALL if has_tokens else 1.5 * TRANSPORT)
    for connection in held:
        connection.close()


def test_open_reflection_calls_take_no_threads(server: Server) -> None:
    def threads() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/task"))

    connection = Connection(server.target)
    connection.read(wait=0.2)
    before = threads()
    for stream in range(1, 1001, 2):
        connection.send(frame(HEADERS, END_HEADERS, stream, header_block(REFLECTION)))
    connection.read(wait=1)
    # gRPC may start some threads for itself, for any client.
    assert threads() < before + 16
    connection.close()


def test_answers_are_not_compressed_for_those_who_would_take_it(server: Server) -> None:
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary(
            "/skipstream.v1.ImageGeneration/ListModels",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        _, done = call.with_call(b"", metadata=metadata, timeout=PATIENCE)
        sent = dict(done.initial_metadata())
    assert sent.get("grpc-encoding", "identity") == "identity"
