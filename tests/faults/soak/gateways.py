"""Gateways between clients and two replicas: gRPC itself, or HAProxy or nginx as in deploy/."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import PATIENCE, ROOT, wait_until

_CONFIGURED = ("10.0.0.1:50051", "10.0.0.2:50051")
_LISTEN = "0.0.0.0:50050"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def answers(target: str) -> bool:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def round_robin(replicas: Sequence[str]) -> str:
    """The target of a client that takes them in turn itself."""
    return "ipv4:" + ",".join(replicas)


@contextmanager
def gateway(name: str, replicas: Sequence[str], folder: Path) -> Iterator[str]:
    """Yields the target of clients."""
    if name == "round_robin":
        yield round_robin(replicas)
        return
    source = {"haproxy": "haproxy/haproxy.cfg", "nginx": "nginx/nginx.conf"}[name]
    text = (ROOT / "deploy" / source).read_text()
    target = free_address()
    for was, now in zip((*_CONFIGURED, _LISTEN), (*replicas, target), strict=True):
        assert was in text, f"{source} has no {was}"
        text = text.replace(was, now)
    text = text.replace("/run/nginx.pid", str(folder / "nginx.pid"))
    config = folder / f"{name}.conf"
    config.write_text(text)
    program = shutil.which(name, path="/usr/sbin:/usr/bin")
    assert program is not None, f"{name} is missing: tools/dev/packages-test.txt names its package"
    command = {
        "haproxy": [program, "-db", "-f", config],
        "nginx": [program, "-c", config, "-p", folder, "-g", "daemon off;"],
    }[name]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: answers(target), f"{name} listens")
        yield target
    finally:
        process.terminate()
        process.wait(PATIENCE)
