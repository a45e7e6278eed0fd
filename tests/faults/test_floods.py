"""Floods by h2load, an HTTP/2 load generator that knows nothing of this project."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
import skipstream
from harness import PATIENCE
from soak.server import soak_server

REQUESTS = 50_000
SHORT = skipstream.make_request(solver="euler", nfe=3, seeds=1)
GRPC = (
    "--header=:method: POST",
    "--header=content-type: application/grpc",
    "--header=te: trailers",
)
GENERATE = "/skipstream.v1.ImageGeneration/Generate"
# Messages as gRPC frames them: bytes that are no GenerateRequest, one whose model is called "?".
GARBAGE = b"\0\0\0\0\5" + 5 * b"\xff"
INVALID = b"\0\0\0\0\3\x0a\1?"


@pytest.mark.parametrize(
    ("path", "body", "refused"),
    [
        pytest.param("/skipstream.v1.ImageGeneration/Paint", GARBAGE, 0, id="unknown method"),
        pytest.param(GENERATE, b"", REQUESTS, id="no message"),
        pytest.param(GENERATE, GARBAGE[:3], REQUESTS, id="half a message"),
        pytest.param(GENERATE, GARBAGE, REQUESTS, id="garbage"),
        pytest.param(GENERATE, INVALID, REQUESTS, id="invalid request"),
    ],
)
def test_a_flood_is_answered_and_others_are_served(
    path: str, body: bytes, refused: int, tmp_path: Path
) -> None:
    command = ["h2load", f"--requests={REQUESTS}", "--clients=20", "--max-concurrent-streams=50"]
    if body:
        (tmp_path / "body").write_bytes(body)
        command.append(f"--data={tmp_path / 'body'}")
    with soak_server(tmp_path) as server, server.client() as client:
        (alone,) = client.generate(SHORT)
        with subprocess.Popen(
            [*command, *GRPC, f"http://{server.target}{path}"], stdout=subprocess.PIPE, text=True
        ) as flood:
            try:
                # A tenth of the flood is behind it.
                while "progress:" not in flood.stdout.readline():
                    assert flood.poll() is None
                start, longest, beside = time.monotonic(), 0.0, 0
                while flood.poll() is None:
                    before = time.monotonic()
                    (image,) = client.generate(SHORT, timeout=PATIENCE)
                    longest = max(longest, time.monotonic() - before)
                    assert image.data == alone.data
                    beside += 1
                seconds = time.monotonic() - start
            finally:
                flood.kill()
            output = flood.stdout.read()
        assert re.search(rf"{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored", output)
        # It was not kept waiting until the flood was over.
        assert beside >= 3
        assert longest < 0.8 * seconds
        server.wait_idle()
        assert server.metrics().value("requests_total", code="INVALID_ARGUMENT") == refused
