"""Routes on which a token is sent: the cases are the C++ client's too."""

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import skipstream
from fake_server import FakeServer
from skipstream import connection

CASES = json.loads((Path(__file__).resolve().parents[2] / "data" / "route_cases.json").read_text())
PROXY_VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")
TOKEN = "my-secret-token"
ONCE = skipstream.RetryPolicy(max_attempts=1)


class RecordingProxy:
    """Keeps the first bytes of every connection and lets nothing through."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with client:
                    self.seen.append(client.recv(4096))

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


class TokenServer(FakeServer):
    """Listens wherever this machine can be reached by a case, and keeps the tokens it gets."""

    def __init__(self, socket_path: Path, address: str = "127.0.0.1") -> None:
        self.tokens: list[Any] = []
        self.unary_failures, self.unary_calls = [], []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        connection_stub = skipstream.client.image_generation_pb2_grpc
        connection_stub.add_ImageGenerationServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"{address}:0")
        self._server.add_insecure_port(f"unix:{socket_path}")
        try:
            self.has_ipv6 = self._server.add_insecure_port(f"[::1]:{self.port}") == self.port
        except RuntimeError:
            self.has_ipv6 = False
        self._server.start()

    def _unary(self, request: Any, context: grpc.ServicerContext) -> None:
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))


@pytest.fixture(scope="module")
def proxy() -> Iterator[RecordingProxy]:
    proxy = RecordingProxy()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("routes") / "s"


@pytest.fixture(scope="module")
def token_server(socket_path: Path) -> Iterator[TokenServer]:
    server = TokenServer(socket_path)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in PROXY_VARIABLES or name.startswith("GRPC_ADDRESS_HTTP_PROXY"):
            monkeypatch.delenv(name)


def ask_sync(target: str, **options: Any) -> None:
    with skipstream.Client(target, retry=ONCE, **options) as client:
        client.models(timeout=5 if not options.get("tls") else 0.2)


def ask_async(target: str, **options: Any) -> None:
    async def run() -> None:
        async with skipstream.AsyncClient(target, retry=ONCE, **options) as client:
            await client.models(timeout=5 if not options.get("tls") else 0.2)

    asyncio.run(run())


Ask = Callable[..., None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['target']}: {case['why']}")
@pytest.mark.parametrize("ask", [ask_sync, ask_async])
def test_a_token_goes_where_nobody_else_can_read_it(
    ask: Ask,
    case: dict[str, Any],
    proxy: RecordingProxy,
    token_server: TokenServer,
    socket_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "[::1]" in case["target"] and not token_server.has_ipv6:
        pytest.skip("no IPv6 here")
    for name, value in case["environment"].items():
        monkeypatch.setenv(name, value.replace("PROXY", proxy.address))
    proxy.seen.clear()
    token_server.tokens.clear()
    target = case["target"].replace("PORT", str(token_server.port))
    target = target.replace("SOCKET", str(socket_path))

    if not case["token_allowed"]:
        with pytest.raises(ValueError, match="not encrypted"):
            ask(target, token=TOKEN)
        assert token_server.tokens == []
    elif case["tls"]:
        with pytest.raises(skipstream.SkipstreamError):  # nobody there speaks TLS
            ask(target, token=TOKEN, tls=True)
        assert token_server.tokens == []
    else:
        ask(target, token=TOKEN)
        assert token_server.tokens == [f"Bearer {TOKEN}"]
    assert proxy.seen == []


@pytest.mark.parametrize("ask", [ask_sync, ask_async])
def test_a_name_of_this_machine_that_leads_elsewhere_gets_no_token(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # sends nothing
        address = probe.getsockname()[0]
    if address.startswith(("0.", "127.")):
        pytest.skip("this machine has no address but those of the loopback interface")
    server = TokenServer(tmp_path / "s", address)
    # As if a resolver gave this address for "localhost".
    monkeypatch.setattr(connection, "is_this_machine", lambda target: True)
    try:
        with pytest.raises(skipstream.Unavailable):
            ask(f"{address}:{server.port}", token=TOKEN)
        assert server.tokens == []
        ask(f"{address}:{server.port}", token=TOKEN, allow_plaintext_token=True)
        assert server.tokens == [f"Bearer {TOKEN}"]
    finally:
        server.stop()


def test_the_cases_are_sorted_one_a_line() -> None:
    targets = [case["target"] for case in CASES]
    assert targets == sorted(targets)
