"""A server with nothing to do does nothing."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Server

SECONDS = 3
# Per second, over all threads: a loop that polls every 10 ms would make 100.
FEW = 20


def test_an_idle_server_hardly_wakes_up(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with server.client() as client:
        client.generate(nfe=3)  # every thread has run once
    server.wait_idle()
    before = server.context_switches()
    time.sleep(SECONDS)  # idleness has no condition to wait for
    assert server.context_switches() - before < FEW * SECONDS


def _environment(server: Server) -> list[str]:
    return Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")


def test_threads_that_wait_for_work_sleep_unless_told_otherwise(
    new_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(variable, raising=False)
    assert "OMP_WAIT_POLICY=passive" in _environment(new_server())
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "OMP_WAIT_POLICY=active" in _environment(new_server())
