"""Clients that talk to a server which means them ill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from harness import binary

# Far below what a client takes as one message, and far above what it needs itself.
UNPACKED_BYTES = 200 << 20
PEAK_BYTES = 100 << 20

# Runs in a separate process: what a child has used at most counts its parent before the exec, too.
PEAK_OF = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)
"""

PYTHON_CLIENT = """
import sys, skipstream
with skipstream.Client(sys.argv[1]) as client:
    client.models()
"""


class Bomb(grpc.GenericRpcHandler):
    """Answers every call with a message that is small on the wire and large when unpacked."""

    def service(self, _: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: bytes(UNPACKED_BYTES))


@pytest.fixture
def bomb() -> Iterator[str]:
    server = grpc.server(
        futures.ThreadPoolExecutor(1),
        compression=grpc.Compression.Gzip,
        options=[("grpc.max_send_message_length", -1)],
    )
    server.add_generic_rpc_handlers((Bomb(),))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield target
    server.stop(grace=None).wait()


@pytest.mark.parametrize("client", ["command", "python"])
def test_a_compressed_answer_is_refused_before_it_is_unpacked(bomb: str, client: str) -> None:
    if client == "command":
        arguments = [str(binary("skipstream")), "models", "--server", bomb]
    else:
        arguments = [sys.executable, "-c", PYTHON_CLIENT, bomb]
    measure = [sys.executable, "-c", PEAK_OF, *arguments]
    done = subprocess.run(measure, stdout=subprocess.PIPE, check=True, text=True)
    code, peak = map(int, done.stdout.split())
    assert code == 1
    assert peak < PEAK_BYTES
