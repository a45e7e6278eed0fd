"""Clients that lose their connection in the middle, and come back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest
import skipstream
from harness import NO_RETRY, PATIENCE, Server
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream._proto.skipstream.v1 import image_generation_pb2_grpc

FAST = skipstream.RetryPolicy(initial_backoff=0.01, max_backoff=0.1)


class BreakingProxy:
    """Passes bytes on to a server; the first connection breaks after some from the server."""

    def __init__(self, target: str, break_after: int) -> None:
        host, port = target.split(":")
        self._server = (host, int(port))
        self._break_after: int | None = break_after
        self.broken = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                limit, self._break_after = self._break_after, None
                for source, sink, most in ((client, server, None), (server, client, limit)):
                    threading.Thread(
                        target=self._pass_on, args=(source, sink, most), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, most: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if most is not None and passed + len(data) > most:
                    self.broken.set()
                    break
                sink.sendall(data)
                passed += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def proxy(exact_server: Server) -> Iterator[BreakingProxy]:
    proxy = BreakingProxy(exact_server.target, break_after=40_000)
    yield proxy
    proxy.close()


def test_a_client_cut_off_in_the_middle_gets_every_image_once_and_the_same(
    exact_client: skipstream.Client, proxy: BreakingProxy
) -> None:
    options = {"count": 24, "seeds": 5, "nfe": 5}
    whole = exact_client.generate(**options)
    with skipstream.Client(proxy.target, retry=FAST) as client:
        events = list(client.stream(**options, timeout=PATIENCE))
    assert proxy.broken.is_set()
    kinds = [type(event) for event in events]
    second_try = kinds.index(skipstream.Accepted, 1)
    assert skipstream.ImageReady in kinds[:second_try], "it broke in the middle"
    assert skipstream.ImageReady in kinds[second_try:]
    images = [event.image for event in events if isinstance(event, skipstream.ImageReady)]
    assert sorted(image.index for image in images) == list(range(24))
    images.sort(key=lambda image: image.index)
    assert [image.data for image in images] == [image.data for image in whole]
    ids = {event.request_id for event in events if isinstance(event, skipstream.Accepted)}
    assert len(ids) == 1, "every try has the same id"


def test_a_second_client_with_the_id_gets_the_same_images_without_seeds(
    exact_server: Server,
) -> None:
    request = pb.GenerateRequest(request_id="second", count=3)
    request.sampler.nfe = 9
    before = exact_server.metrics()
    with grpc.insecure_channel(exact_server.target) as channel:
        stub = image_generation_pb2_grpc.ImageGenerationStub(channel)
        first = list(stub.Generate(request, timeout=PATIENCE))
        again = list(stub.Generate(request, timeout=PATIENCE))
    data = [
        {e.image.image_index: e.image.picture.data for e in r if e.HasField("image")}
        for r in (first, again)
    ]
    assert len(data[0]) == 3
    assert data[0] == data[1]
    after = exact_server.metrics()
    joined = [m.value("retries_joined_total", how="finished") for m in (before, after)]
    assert joined[1] - joined[0] == 1
    evaluations = [m.value("evaluations_total") for m in (before, after)]
    assert evaluations[1] - evaluations[0] == 27
    assert after.value("result_cache_bytes") > 0


def test_an_id_of_another_request_is_refused(exact_server: Server) -> None:
    with exact_server.client(NO_RETRY) as client:
        client.generate(request_id="taken", seeds=1, nfe=3)
        with pytest.raises(skipstream.SkipstreamError) as refused:
            client.generate(request_id="taken", seeds=2, nfe=3)
    assert refused.value.code is grpc.StatusCode.ALREADY_EXISTS
    assert "request_id" in str(refused.value)


def test_results_are_kept_only_as_long_as_the_operator_says(new_server: type[Server]) -> None:
    server = new_server("--result_cache_mb=0")
    with server.client() as client:
        client.generate(request_id="once", seeds=1, nfe=3)
        client.generate(request_id="once", seeds=1, nfe=3)
    assert server.metrics().value("evaluations_total") == 6
    assert server.metrics().value("result_cache_bytes") == 0
