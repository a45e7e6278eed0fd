"""Models that come and go while a server serves: nobody notices, and the memory comes back.

SKIPSTREAM_MODEL_CYCLES says how often (default: 30).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import skipstream
from harness import NO_RETRY, Server

CYCLES = int(os.environ.get("SKIPSTREAM_MODEL_CYCLES", "30"))
# Until every thread has worked with every size of memory.
SETTLING = min(10, CYCLES // 2)
# A cycle loads three models of 15 MiB.
MAX_GROWTH_KIB = 16 << 10


def resident_kib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1])


@contextmanager
def traffic(server: Server, **request: object) -> Iterator[list[bytes]]:
    """One request after the other until the block ends; their images, and no failure."""
    images: list[bytes] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            with server.client() as client:
                while not stop.is_set():
                    images.append(client.generate(**request)[0].data)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield images
    finally:
        stop.set()
        thread.join()
    assert not failures, failures[0]


@pytest.mark.timeout(0 if CYCLES > 30 else 300)
def test_memory_returns_after_every_unload(
    new_server: Callable[..., Server], model_dir: Path
) -> None:
    server = new_server("--max_batch=4", f"--model_dir={model_dir}", "--enable_model_control")
    resident: list[int] = []
    with server.client() as client, traffic(server, seeds=1, nfe=3) as images:
        for _ in range(CYCLES):
            client.load_model("second.safetensors", "guest")
            # In progress while its model is replaced, and the next while its model is unloaded.
            streams = [client.stream(model="guest", solver="euler", nfe=8)]
            assert isinstance(next(streams[0]), skipstream.Accepted)
            client.load_model("undropped.safetensors", "guest", replace=True)
            streams.append(client.stream(model="guest", classes=[1], solver="euler", nfe=8))
            assert isinstance(next(streams[1]), skipstream.Accepted)
            client.load_model("nouns32.safetensors", "nouns32", replace=True)
            client.unload_model("guest")
            for stream in streams:
                assert isinstance(list(stream)[-1], skipstream.Completed)
            resident.append(resident_kib(server))
    server.wait_idle()
    assert [m.name for m in client_models(server)] == ["nouns32"]
    # The default model was replaced by itself all the time.
    assert len(set(images)) == 1
    growth = resident[-1] - max(resident[:SETTLING])
    print(
        f"{CYCLES} cycles, resident KiB: {resident[:: max(1, CYCLES // 20)]}, last {resident[-1]}"
    )
    assert growth < MAX_GROWTH_KIB, resident


def client_models(server: Server) -> list[skipstream.ModelSummary]:
    with server.client() as client:
        return client.models()


def test_a_request_finds_the_old_model_or_the_new_one(
    new_server: Callable[..., Server], model_dir: Path
) -> None:
    server = new_server("--max_batch=4", f"--model_dir={model_dir}", "--enable_model_control")
    with skipstream.Client(server.target, retry=NO_RETRY) as client:
        old = client.model().sha256
        new = client.load_model("undropped.safetensors", "new").sha256
        assert old != new
        seen = set()
        with traffic(server, seeds=1, classes=[1], nfe=1):
            for _ in range(5):
                for file, replaced in (("undropped", old), ("second", new)):
                    loaded = client.load_model(f"{file}.safetensors", "nouns32", replace=True)
                    assert loaded.replaced_sha256 == replaced
                    seen.add(client.model().sha256)
                    assert server.metrics().value("model_loaded", model="nouns32") == 1
        assert seen == {old, new}


def test_loading_gives_way_to_evaluations(new_server: Callable[..., Server]) -> None:
    server = new_server("--enable_model_control")
    stats = Path(f"/proc/{server.process.pid}/task").glob("*/stat")
    niceness = [int(stat.read_text().rpartition(")")[2].split()[16]) for stat in stats]
    # Only the thread that loads has it: each thread has its own priority.
    assert niceness.count(10) == 1
    assert niceness.count(os.nice(0)) == len(niceness) - 1
