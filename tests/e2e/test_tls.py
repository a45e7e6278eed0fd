"""Encrypted connections: who gets one, and what happens when certificates are replaced."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import skipstream
from certificates import Authority
from harness import NO_RETRY, PATIENCE, Cli, Server, binary, wait_until
from skipstream import Tls


class Files:
    """What the server watches, and whom to trust."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority", "Test CA")
        self.cert, self.key = folder / "server.pem", folder / "server.key"
        self.install("server")

    def install(self, name: str) -> None:
        """A fresh certificate of this name for the server."""
        cert, key = self.authority.issue(name)
        shutil.copy(cert, self.cert)
        shutil.copy(key, self.key)

    def flags(self) -> list[str]:
        return [f"--tls_cert={self.cert}", f"--tls_key={self.key}", "--reload_interval=0.05"]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def tls_server(new_server: Callable[..., Server], files: Files) -> Iterator[Server]:
    server = new_server(*files.flags(), "--log_format=json")
    yield server
    assert server.process.poll() is None, f"the server died:\n{server.errors()}"


def connect(server: Server, tls: Tls | bool) -> skipstream.Client:
    return skipstream.Client(server.target, tls=tls, retry=NO_RETRY)


def name_shown(server: Server, files: Files) -> str:
    """The name in the certificate that a new connection gets."""
    host, port = server.target.split(":")
    context = ssl.create_default_context(cafile=str(files.authority.file))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        return dict(entry[0] for entry in encrypted.getpeercert()["subject"])["commonName"]


def test_a_client_that_trusts_the_server_gets_its_images(tls_server: Server, files: Files) -> None:
    with connect(tls_server, Tls(ca=files.authority.file)) as client:
        assert len(client.generate(seeds=1, nfe=3)) == 1
        assert client.health().ready


def test_the_command_speaks_tls(tls_server: Server, files: Files, cli: Cli) -> None:
    server = f"--server={tls_server.target}"
    done = cli("generate", server, f"--ca={files.authority.file}", "--nfe=3", "--out=a.png")
    assert done.returncode == 0, done.stderr
    assert cli("health", server, "--tls").returncode == 1, "the system does not trust the test's CA"
    assert cli("health", server, "--ca=missing.pem").returncode == 1


def test_whoever_does_not_encrypt_is_refused(tls_server: Server) -> None:
    with connect(tls_server, tls=False) as client, pytest.raises(skipstream.Unavailable):
        client.models(timeout=PATIENCE)


def test_a_client_does_not_talk_to_a_server_it_does_not_trust(
    tls_server: Server, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "Stranger")
    with (
        connect(tls_server, Tls(ca=stranger.file)) as client,
        pytest.raises(skipstream.Unavailable),
    ):
        client.models(timeout=PATIENCE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that is why they are refused
def test_old_versions_of_tls_are_refused(tls_server: Server, files: Files) -> None:
    host, port = tls_server.target.split(":")
    context = ssl.create_default_context(cafile=str(files.authority.file))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_a_new_certificate_is_shown_to_new_connections_and_cuts_no_stream(
    tls_server: Server, files: Files
) -> None:
    assert name_shown(tls_server, files) == "server"
    with connect(tls_server, Tls(ca=files.authority.file)) as client:
        events = client.stream(seeds=1, nfe=999, preview_every=1)
        first = next(events)
        assert isinstance(first, skipstream.Accepted)
        files.install("renewed")
        wait_until(lambda: name_shown(tls_server, files) == "renewed", "the new name is shown")
        assert isinstance(next(events), skipstream.Progress | skipstream.Preview)
        assert isinstance(list(events)[-1], skipstream.Completed)


def test_a_bad_certificate_changes_nothing_until_it_is_mended(
    tls_server: Server, files: Files
) -> None:
    whole = files.cert.read_bytes()
    bad_files = (whole[: len(whole) // 2], b"", b"nonsense", files.authority.file.read_bytes())
    for count, bad in enumerate(bad_files, start=1):
        files.cert.write_bytes(bad)
        wait_until(
            lambda count=count: tls_server.errors().count("not reloaded") == count,
            "the log says that the file is bad",
        )
        assert name_shown(tls_server, files) == "server"
    files.cert.unlink()
    wait_until(lambda: "there is no file" in tls_server.errors(), "the log misses the file")
    assert name_shown(tls_server, files) == "server"
    files.install("mended")
    wait_until(lambda: name_shown(tls_server, files) == "mended", "the mended file is in force")


def test_a_server_does_not_start_with_files_it_cannot_use(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    _, key = files.authority.issue("other")
    shutil.copy(key, other)
    half = tmp_path / "half.pem"
    half.write_bytes(files.cert.read_bytes()[:100])
    for flags, message in [
        ([f"--tls_cert={files.cert}"], "--tls_cert and --tls_key: give both or none"),
        (
            [f"--tls_cert={half}", f"--tls_key={files.key}"],
            "--tls_cert, --tls_key: the certificate",
        ),
        ([f"--tls_cert={files.cert}", f"--tls_key={other}"], "does not belong to the certificate"),
        ([f"--tls_cert={files.cert}", "--tls_key=/missing"], "there is no file /missing"),
        ([*files.flags(), f"--tls_client_ca={half}"], "--tls_client_ca: the clients' CA"),
        ([f"--tls_client_ca={files.authority.file}"], "--tls_client_ca: needs --tls_cert"),
    ]:
        done = run_server(*flags)
        assert done.returncode == 1, flags
        assert message in done.stderr, done.stderr


def run_server(*flags: str) -> subprocess.CompletedProcess[str]:
    """Of a server that does not start."""
    return subprocess.run(
        [
            binary("skipstream-server"),
            "--listen=127.0.0.1:0",
            "--metrics_listen=127.0.0.1:0",
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_with_a_client_ca_only_clients_with_its_certificates_get_in(
    new_server: Callable[..., Server], files: Files, tmp_path: Path, cli: Cli
) -> None:
    server = new_server(*files.flags(), f"--tls_client_ca={files.authority.file}")
    ca = files.authority.file
    cert, key = files.authority.issue("client")
    with connect(server, Tls(ca=ca, cert=cert, key=key)) as client:
        assert len(client.generate(seeds=1, nfe=3)) == 1
    with connect(server, Tls(ca=ca)) as client, pytest.raises(skipstream.Unavailable):
        client.models(timeout=PATIENCE)
    strange_cert, strange_key = Authority(tmp_path / "stranger", "Stranger").issue("client")
    stranger = Tls(ca=ca, cert=strange_cert, key=strange_key)
    with connect(server, stranger) as client, pytest.raises(skipstream.Unavailable):
        client.models(timeout=PATIENCE)
    done = cli(
        *("models", f"--server={server.target}", f"--ca={ca}"), f"--cert={cert}", f"--key={key}"
    )
    assert done.returncode == 0, done.stderr


def test_a_flood_of_failed_handshakes_does_not_fill_the_log(
    tls_server: Server, files: Files
) -> None:
    host, port = tls_server.target.split(":")
    for _ in range(100):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64)
            while plain.recv(4096):
                pass
    assert name_shown(tls_server, files) == "server"
    assert len(tls_server.errors().splitlines()) < 50
