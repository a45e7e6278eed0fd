"""The server under test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import skipstream
from harness import Server

from soak.models import write_small_model

# The fused kernels give every image to the last bit whatever shares its batch; where a CPU has
# none, this promises the same.
_EXACT = "--deterministic"

# One thread evaluates, so that the clients have a core too. The enlargement is for slow clients.
_FLAGS = ("--threads=1", "--max_scale=64")


@contextmanager
def soak_server(
    folder: Path,
    *flags: str,
    model: Path | None = None,
    max_batch: int = 8,
    slots: int = 16,
    token: str | None = None,
    **options: object,
) -> Iterator[Server]:
    """With the small model unless given another; its log in `folder`. `token` is one it knows."""
    if model is None:
        model = folder / "small.safetensors"
        if not model.exists():
            write_small_model(model)
    number = len(list(folder.glob("log*")))
    flags = (f"--model={model}", f"--max_batch={max_batch}", f"--slots={slots}", *_FLAGS, *flags)
    log = folder / f"log{number}"
    server = Server(*flags, log=log, **options)
    with skipstream.Client(server.target, token=token) as client:
        exact = client.model().kernels == "fused"
    if not exact:
        server.kill()
        server = Server(*flags, _EXACT, log=log, **options)
    with server:
        yield server


def settled_memory(server: Server, seconds: float = 10.0) -> int:
    """Resident bytes of an idle server, once they have stopped falling or `seconds` have passed."""
    server.wait_idle()
    lowest, since = server.resident_bytes(), time.monotonic()
    deadline = since + seconds
    while time.monotonic() < min(deadline, since + 1):
        time.sleep(0.1)
        now = server.resident_bytes()
        if now < lowest:
            lowest, since = now, time.monotonic()
    return lowest
