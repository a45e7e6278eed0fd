"""Programs that are started with standard descriptors closed, full or unread."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import PATIENCE, Server, binary, wait_until

SERVER_FLAGS = ["--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0", "--warmup_budget=0"]


def closing(redirections: str, *arguments: str | Path) -> list[str]:
    return ["sh", "-c", f'exec "$@" {redirections}', "sh", *map(str, arguments)]


@contextlib.contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends the process whatever the test finds."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def descriptor(pid: int, number: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""


def test_no_file_or_socket_of_the_server_gets_a_standard_descriptor() -> None:
    command = closing("<&- >&- 2>&-", binary("skipstream-server"), *SERVER_FLAGS)
    with ending(subprocess.Popen(command)) as server:
        wait_until(
            lambda: any("socket:" in descriptor(server.pid, n) for n in range(3, 64)),
            "it listens",
        )
        assert [descriptor(server.pid, number) for number in range(3)] == ["/dev/null"] * 3
        server.terminate()
        assert server.wait(PATIENCE) == 0


def test_a_command_with_closed_output_fails(server: Server) -> None:
    command = closing(">&-", binary("skipstream"), "models", "--server", server.target)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "standard output" in done.stderr


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more until it is read."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


@pytest.mark.parametrize("unread", [("stderr",), ("stdout", "stderr")])
def test_a_server_whose_output_nobody_reads_drains(unread: tuple[str, ...]) -> None:
    pipes = {name: full_pipe() for name in unread}
    outputs = {name: pipes[name][1] if name in pipes else subprocess.DEVNULL for name in unread}
    with ending(
        subprocess.Popen([binary("skipstream-server"), *SERVER_FLAGS], **outputs)
    ) as server:
        wait_until(
            lambda: any("socket:" in descriptor(server.pid, n) for n in range(3, 64)),
            "it listens",
        )
        server.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert server.wait(PATIENCE) == 0
        assert time.monotonic() - start < PATIENCE / 2
    for ends in pipes.values():
        for end in ends:
            os.close(end)
