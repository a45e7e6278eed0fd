"""A log that nobody reads: the server goes on taking connections, and ends when it is asked to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import skipstream
from certificates import Authority
from harness import PATIENCE, Server


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Path]:
    """A pipe that is full after a few lines."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
    yield fifo
    os.close(reading)


def test_bad_handshakes_do_not_shut_the_door(unread: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "nobody")
    cert, key = authority.issue("server")
    tls = skipstream.Tls(ca=authority.file)
    with Server(f"--tls_cert={cert}", f"--tls_key={key}", log=unread) as server:
        with skipstream.Client(server.target, tls=tls) as client:
            for _ in range(40):  # a line each
                client.generate(nfe=1, solver="euler", timeout=PATIENCE)
        host, _, port = server.target.rpartition(":")
        for _ in range(3):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as k:
                k.sendall(b"GET / HTTP/1.1\r\n\r\n")
                k.recv(1)
        with skipstream.Client(server.target, tls=tls) as client:
            assert client.generate(nfe=1, solver="euler", timeout=PATIENCE)
        server.terminate()
        assert server.wait() == 0
