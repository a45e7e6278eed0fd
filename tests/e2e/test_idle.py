"""A server with nothing to do does nothing."""

import time
from collections.abc import Callable

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
