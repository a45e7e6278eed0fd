"""Hostile and broken clients.

`python -m soak.attacks HOST:PORT SECONDS COUNT NAME...` is some of them, for so long and until they
have done so much together: a process of its own, so that whoever measures beside it is not slowed
down by Python.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

import skipstream

from soak.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GENERATE,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Connection,
    call,
    frame,
    header_block,
    message,
    settings,
)

# Frames or streams that the attacker sends between two looks at the clock.
BURST = 50
# It rests this many times longer than a burst took (as long, if there is a number to reach): the
# server's two cores are ours as well.
REST = 3
CANCEL = struct.pack(">I", 8)

# Each takes a target and a source of chance, does something bad between two `yield`s, and yields
# how often it did it since the last.
Attack = Callable[[str, random.Random], Iterator[int]]


def _reconnecting(attack: Callable[[Connection, random.Random], int]) -> Attack:
    """On one connection after the other: the server may hang up, and then it comes back."""

    def run(target: str, draw: random.Random) -> Iterator[int]:
        connection = None
        while True:
            count = 1
            try:
                if connection is None or connection.told_to_go:
                    if connection is not None:
                        connection.close()
                    connection = Connection(target)
                count = attack(connection, draw)
                connection.read()
            except OSError:
                if connection is not None:
                    connection.close()
                connection = None
            yield count

    return run


class _Streams:
    """Numbers of streams that grow as they must, by connection."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def take(self, connection: Connection) -> int:
        stream = self._next.get(id(connection), 1)
        self._next[id(connection)] = stream + 2
        return stream


def random_bytes(target: str, draw: random.Random) -> Iterator[int]:
    while True:
        with contextlib.suppress(OSError):
            connection = Connection(target)
            connection.send(draw.randbytes(draw.randrange(1, 4096)))
            connection.close()
        yield 1


def not_http2(target: str, draw: random.Random) -> Iterator[int]:
    host, _, port = target.rpartition(":")
    openings = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", PREFACE[:10], b"\0" * 4096)
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(draw.choice(openings))
        yield 1


@_reconnecting
def garbage_frames(connection: Connection, draw: random.Random) -> int:
    for _ in range(BURST):
        payload = draw.randbytes(draw.choice((0, 1, 4, 8, 100, 1000)))
        connection.send(
            frame(draw.randrange(256), draw.randrange(256), draw.randrange(2**31), payload)
        )
    return BURST


@_reconnecting
def valid_kinds_wrong_contents(connection: Connection, draw: random.Random) -> int:
    for _ in range(BURST):
        stream = draw.choice((0, 1, 2, 3, 5, 2**31 - 1))
        connection.send(
            frame(
                draw.randrange(10), draw.randrange(64), stream, draw.randbytes(draw.randrange(40))
            )
        )
    return BURST


@_reconnecting
def bad_hpack(connection: Connection, draw: random.Random) -> int:
    for _ in range(BURST):
        connection.send(frame(HEADERS, END_HEADERS, 1, draw.randbytes(64)))
    return BURST


def _rapid_reset(request: bytes) -> Attack:
    streams = _Streams()

    @_reconnecting
    def attack(connection: Connection, _: random.Random) -> int:
        data = b""
        for _ in range(BURST):
            stream = streams.take(connection)
            data += frame(HEADERS, END_HEADERS, stream, header_block())
            if request:
                data += frame(DATA, 1, stream, message(request))
            data += frame(RST_STREAM, 0, stream, CANCEL)
        connection.send(data)
        return BURST

    return attack


@_reconnecting
def settings_flood(connection: Connection, draw: random.Random) -> int:
    connection.send(settings({0x4: draw.randrange(2**31)}) * BURST)
    return BURST


@_reconnecting
def ping_flood(connection: Connection, draw: random.Random) -> int:
    connection.send(frame(PING, payload=draw.randbytes(8)) * BURST)
    return BURST


@_reconnecting
def continuation_flood(connection: Connection, draw: random.Random) -> int:
    connection.send(frame(HEADERS, 0, 1, header_block()))
    for _ in range(BURST):
        field = b"\x00\x08" + b"x-%06d" % draw.randrange(10**6) + b"\x64" + b"y" * 100
        connection.send(frame(CONTINUATION, 0, 1, field * 100))
    return BURST


@_reconnecting
def window_games(connection: Connection, draw: random.Random) -> int:
    streams = _window_streams
    data = b""
    for _ in range(BURST):
        stream = streams.take(connection)
        data += settings({0x4: draw.choice((0, 1, 2**31 - 1))})
        data += call(stream, b"")
        data += frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", draw.choice((0, 1, 2**31 - 1))))
        data += frame(RST_STREAM, 0, stream, CANCEL)
    connection.send(data)
    return BURST


_window_streams = _Streams()


@_reconnecting
def huge_declared_message(connection: Connection, draw: random.Random) -> int:
    streams = _huge_streams
    for _ in range(BURST):
        stream = streams.take(connection)
        size = struct.pack(">I", draw.choice((2**32 - 1, 2**31, 6 << 20)))
        connection.send(
            frame(HEADERS, END_HEADERS, stream, header_block())
            + frame(DATA, 0, stream, b"\x00" + size + b"x" * 100)
        )
    return BURST


_huge_streams = _Streams()

_INVALID = (
    skipstream.GenerateRequest(count=-1).SerializeToString(),
    skipstream.GenerateRequest(count=65, seeds=[1, 2, 3]).SerializeToString(),
    skipstream.make_request(solver="heun", nfe=10).SerializeToString(),
    skipstream.make_request(rho=[3.0] * 7, classes="nobody").SerializeToString(),
    skipstream.make_request(sigmas=list(range(900, 0, -1)), sigma_min=-1.0).SerializeToString(),
    skipstream.make_request(input_image=b"\x89PNG\r\n\x1a\nno").SerializeToString(),
)


def invalid_requests(target: str, draw: random.Random) -> Iterator[int]:
    """Well-formed calls whose request is wrong; each is answered before the next ones are sent."""
    connection, stream = Connection(target), 1
    while True:
        expected = connection.streams_ended + BURST
        data = b""
        for _ in range(BURST):
            data += call(stream, draw.choice(_INVALID))
            stream += 2
        connection.send(data)
        while connection.streams_ended < expected and not connection.told_to_go:
            connection.read(wait=5)
            connection.give_back(1 << 20)
        yield BURST


def unknown_methods(target: str, draw: random.Random) -> Iterator[int]:
    connection, stream = Connection(target), 1
    while True:
        expected = connection.streams_ended + BURST
        for _ in range(BURST):
            path = f"{GENERATE}{draw.randrange(10**6)}"
            connection.send(frame(HEADERS, END_HEADERS | 1, stream, header_block(path)))
            stream += 2
        while connection.streams_ended < expected and not connection.told_to_go:
            connection.read(wait=5)
            connection.give_back(1 << 20)
        yield BURST


def _half_sent(connections: int) -> Attack:
    def attack(target: str, _: random.Random) -> Iterator[int]:
        """Requests of nearly 5 MiB whose end never comes."""
        size = 5 << 20
        body = b"\x00" + struct.pack(">I", size) + b"\x82\x01" + b"x" * (size - 3)
        held = []
        for _ in range(connections):
            connection = Connection(target)
            connection.read(wait=0.2)
            connection.open_stream(1)
            sent, idle_since = 0, time.monotonic()
            while sent < len(body) - 1 and time.monotonic() < idle_since + 1:
                if allowed := connection.send_as_allowed(1, body[sent:-1]):
                    sent, idle_since = sent + allowed, time.monotonic()
                else:
                    connection.read(wait=0.1)
            held.append(connection)
            yield 1
        yield from _hold(held)

    return attack


def _hold(connections: list[Connection]) -> Iterator[int]:
    """Answers what they are asked, so that nothing is wrong with them; does nothing else."""
    while True:
        for connection in connections:
            connection.read()
        yield 0


def _idle_connections(connections: int) -> Attack:
    def attack(target: str, _: random.Random) -> Iterator[int]:
        held = []
        for _ in range(connections):
            held.append(Connection(target))
            yield 1
        yield from _hold(held)

    return attack


def _unread_results(connections: int) -> Attack:
    """Asks for many large images and takes none of them: the window stays shut."""
    request = skipstream.make_request(count=64, nfe=1, solver="euler", format="raw", scale=64)
    body = request.SerializeToString()

    def attack(target: str, _: random.Random) -> Iterator[int]:
        held = []
        for _ in range(connections):
            connection = Connection(target, {0x4: 0})
            connection.send(call(1, body))
            held.append(connection)
            yield 1
        while True:
            for index, connection in enumerate(held):
                connection.read()
                if connection.streams_ended or connection.told_to_go:
                    connection.close()
                    held[index] = Connection(target, {0x4: 0})
                    held[index].send(call(1, body))
                    yield 1
            yield 0

    return attack


ATTACKS: dict[str, Attack] = {
    "random bytes": random_bytes,
    "not HTTP/2": not_http2,
    "garbage frames": garbage_frames,
    "valid frames with wrong contents": valid_kinds_wrong_contents,
    "bad HPACK": bad_hpack,
    "rapid reset of headers": _rapid_reset(b""),
    "rapid reset of requests": _rapid_reset(
        skipstream.make_request(nfe=5, solver="euler", seeds=1).SerializeToString()
    ),
    "SETTINGS flood": settings_flood,
    "PING flood": ping_flood,
    "CONTINUATION flood": continuation_flood,
    "window games": window_games,
    "huge declared messages": huge_declared_message,
    "invalid requests": invalid_requests,
    "unknown methods": unknown_methods,
    "half-sent requests": _half_sent(connections=40),
    "idle connections": _idle_connections(connections=1000),
    "unread results": _unread_results(connections=4),
}


def main() -> None:
    target, seconds, count, *names = sys.argv[1:]
    # On a separate machine it would not compete with the server for its cores.
    os.nice(10)
    print(json.dumps("begins"), flush=True)
    deadline = time.monotonic() + float(seconds)
    done = dict.fromkeys(names, 0)
    attacks = {name: ATTACKS[name](target, random.Random(name)) for name in names}
    for name in itertools.cycle(names):
        start = time.monotonic()
        if start > deadline and sum(done.values()) >= int(count):
            break
        try:
            done[name] += next(attacks[name])
        except OSError:  # the server has hung up: from the start again
            attacks[name] = ATTACKS[name](target, random.Random(name))
        rest = 1 if sum(done.values()) < int(count) else REST
        time.sleep(min(0.2, rest * (time.monotonic() - start)))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
