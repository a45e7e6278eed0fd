"""Both ports: where they are, what is said when they cannot be had, and who can delay a scrape."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from harness import MODEL, PATIENCE, Server, binary, wait_until

FLAGS = ("--listen", "--metrics_listen")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


def start(**flags: str) -> subprocess.Popen[str]:
    defaults = {
        "listen": "127.0.0.1:0",
        "metrics_listen": "127.0.0.1:0",
        "model": str(MODEL),
        "warmup_budget": "0",
    }
    return subprocess.Popen(
        [
            binary("skipstream-server"),
            *(f"--{name}={value}" for name, value in (defaults | flags).items()),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(**flags: str) -> Iterator[tuple[str, str]]:
    """The target and the metrics' URL of a server."""
    process = start(**flags)
    try:
        lines = [process.stdout.readline().rstrip("\n") for _ in range(2)]
        yield lines[0].removeprefix("listening on "), lines[1].removeprefix("metrics on ")
    finally:
        process.kill()
        process.communicate()


def refused(flag: str, address: str) -> str:
    """The whole output of a server that does not start."""
    process = start(**{flag.removeprefix("--"): address})
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode in (1, 2)
    assert stdout == ""
    return stderr


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return response.read().decode()


def test_idle_connections_do_not_delay_a_scrape(server: Server) -> None:
    url = urlsplit(server.metrics_url)
    with ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(socket.create_connection((url.hostname, url.port)))
        begin = time.monotonic()
        assert "skipstream_ready 1" in scrape(server.metrics_url)
        assert time.monotonic() - begin < 1


def test_head_answers_like_get_without_a_body(server: Server) -> None:
    connection = HTTPConnection(urlsplit(server.metrics_url).netloc, timeout=PATIENCE)
    connection.request("HEAD", "/metrics")
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert int(response.getheader("Content-Length")) > 1000
    assert response.read() == b""
    connection.request("POST", "/metrics", body="a")
    response = connection.getresponse()
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"


@needs_ipv6
def test_metrics_are_served_on_ipv6_as_grpc_is() -> None:
    with running(listen="[::1]:0", metrics_listen="[::1]:0") as (target, url):
        assert target.startswith("[::1]:")
        assert "skipstream_ready 1" in scrape(url)
    for everything in ("[::]", "0.0.0.0"):
        with running(listen=f"{everything}:0", metrics_listen=f"{everything}:0") as (target, url):
            assert target.startswith(f"{everything}:")
            for host in ("[::1]", "127.0.0.1"):
                assert "skipstream_ready 1" in scrape(url.replace(everything, host))


@pytest.mark.parametrize("flag", FLAGS)
def test_a_port_in_use_is_named_before_a_model_is_loaded(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(flag, address)
    assert f"{flag}: cannot listen on {address}: Address already in use" in said
    assert "model " not in said


@needs_ipv6
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("host", ["[::]", "0.0.0.0"])
def test_a_port_that_another_program_has_on_ipv6_is_in_use(flag: str, host: str) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", 0))
        taken.listen()
        address = f"{host}:{taken.getsockname()[1]}"
        assert f"cannot listen on {address}: Address already in use" in refused(flag, address)


@pytest.mark.parametrize("flag", FLAGS)
def test_an_ipv6_address_without_brackets_is_shown_with_them(flag: str) -> None:
    said = refused(flag, "::1:0")
    assert flag in said
    assert "an IPv6 address needs brackets: [::1]:0, got '::1:0'" in said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_while_models_are_loaded_metrics_are_served_and_clients_are_refused(tmp_path: Path) -> None:
    shutil.copy(MODEL, tmp_path)  # without the measurements of an earlier start
    port = free_port()
    url = f"http://127.0.0.1:{free_port()}/metrics"
    process = start(
        model=str(tmp_path / MODEL.name),
        warmup_budget="1",
        listen=f"127.0.0.1:{port}",
        metrics_listen=urlsplit(url).netloc,
    )

    def metrics_answer() -> bool:
        try:
            return "skipstream_ready 0" in scrape(url)
        except urllib.error.URLError:
            return False

    try:
        wait_until(metrics_answer, "metrics are served")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
        assert process.stdout.readline() == f"listening on 127.0.0.1:{port}\n"
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        assert "skipstream_ready 1" in scrape(url)
    finally:
        process.kill()
        process.communicate()
