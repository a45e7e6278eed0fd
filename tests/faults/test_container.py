"""A container with little memory: what does not fit is refused, and the kernel ends nothing."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import skipstream
from harness import PATIENCE, Server, binary
from soak.http2 import WINDOW_UPDATE, Connection, call, frame

MEBIBYTE = 1 << 20
MEMORY = 640 * MEBIBYTE
CONTROL_GROUPS = Path("/sys/fs/cgroup/memory")
READERS = 60
# 48 MiB of images.
REQUEST = skipstream.make_request(count=64, nfe=1, solver="euler", format="raw", scale=16)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 1 with MEMORY."""
    group = CONTROL_GROUPS / f"skipstream-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(MEMORY))
    except OSError as error:
        pytest.skip(f"a memory control group cannot be made here: {error}")
    yield group
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            return group.rmdir()
        except OSError:  # the last process is not quite gone
            time.sleep(0.05)


@pytest.fixture
def server(group: Path, tmp_path: Path) -> Iterator[Server]:
    program = tmp_path / "server"
    real = binary("skipstream-server")
    program.write_text(f'#!/bin/sh\necho $$ > {group}/cgroup.procs\nexec {real} "$@"\n')
    program.chmod(0o755)
    with Server(log=tmp_path / "log", program=str(program)) as server:
        yield server


def test_slow_readers_end_in_refusals(server: Server, group: Path) -> None:
    assert re.search(r"memory 640 MiB \(cgroup memory.limit_in_bytes\)", server.errors())
    body = REQUEST.SerializeToString()
    readers = []
    for _ in range(READERS):
        reader = Connection(server.target, {0x4: 65535})
        reader.send(call(1, body))
        readers.append(reader)
    # Slow, but within --write_timeout, and every ping is answered.
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and server.process.poll() is None:
        for reader in readers:
            try:
                reader.read()
                reader.give_back(2000)
                reader.send(frame(WINDOW_UPDATE, 0, 1, (2000).to_bytes(4, "big")))
            except OSError:  # the server is gone
                break
    assert server.process.poll() is None, "it is not killed"
    assert "oom_kill 0" in (group / "memory.oom_control").read_text()
    assert server.metrics().value("rejected_total", reason="QUEUE_FULL") >= READERS / 2
    for reader in readers:
        reader.close()
    with server.client() as client:
        assert client.generate(nfe=1, solver="euler", timeout=PATIENCE)


def test_threads_follow_the_quota_of_the_container(tmp_path: Path) -> None:
    cpu = Path("/sys/fs/cgroup/cpu") / f"skipstream-{os.getpid()}"
    try:
        cpu.mkdir()
        (cpu / "cpu.cfs_quota_us").write_text("100000")
        (cpu / "cpu.cfs_period_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"a control group for processors cannot be made here: {error}")
    real = binary("skipstream-server")
    command = f"echo $$ > {cpu}/cgroup.procs; exec {real} --help"
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    cpu.rmdir()
    assert re.search(r"--threads \S+ in \[1 - 1024\]=1 ", shown), shown
