"""Tokens, rights and the log, as operators and callers meet them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import skipstream
from harness import NO_RETRY, PATIENCE, Cli, Server, binary, wait_until
from skipstream._proto.skipstream.v1 import image_generation_pb2_grpc
from skipstream._proto.skipstream.v1.image_generation_pb2 import GenerateRequest

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

GENERATOR = "tok-generator-5f0c9a7d1b"
CONTROLLER = "tok-controller-93be02c6aa"
REVOKED = "tok-revoked-0b1e77f2c4"
UNKNOWN = "tok-unknown-e6d83c5510"


def entry(token: str, tenant: str, *rights: str) -> dict[str, Any]:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return {"sha256": digest, "tenant": tenant, "rights": list(rights)}


def auth(*tokens: dict[str, Any]) -> str:
    tenants = {"studio": {"weight": 2, "max_requests": 64}, "lab": {}}
    return json.dumps({"tokens": tokens, "tenants": tenants})


EVERYBODY = auth(
    entry(GENERATOR, "studio", "generate"),
    entry(CONTROLLER, "lab", "control", "generate"),
    entry(REVOKED, "lab", "generate"),
)


@pytest.fixture
def auth_file(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.write_text(EVERYBODY)
    return path


@pytest.fixture
def locked_server(new_server: Callable[..., Server], auth_file: Path, model_dir: Path) -> Server:
    return new_server(
        f"--auth_file={auth_file}",
        "--reload_interval=0.05",
        "--log_format=json",
        "--enable_model_control",
        f"--model_dir={model_dir}",
    )


def connect(server: Server, token: str | None) -> skipstream.Client:
    return skipstream.Client(server.target, token=token, retry=NO_RETRY)


def events(server: Server, message: str) -> list[dict[str, Any]]:
    """The log's lines with this message; every line of the log must be JSON."""
    *whole, _ = server.errors().split("\n")
    lines = [json.loads(line) for line in whole]
    return [line for line in lines if line["message"] == message]


def generated(server: Server, count: int) -> list[dict[str, Any]]:
    """The lines of this number of calls; they are written a moment after the answer."""
    wait_until(lambda: len(events(server, "generate")) >= count, f"{count} calls are logged")
    lines = events(server, "generate")
    assert len(lines) == count
    return lines


def test_a_token_opens_what_it_has_the_right_to(locked_server: Server) -> None:
    with connect(locked_server, GENERATOR) as client:
        assert len(client.generate(seeds=1, nfe=3)) == 1
        assert client.models()[0].name == "nouns32"
        with pytest.raises(skipstream.PermissionDenied, match='right "control"') as denied:
            client.load_model("second.safetensors")
        assert denied.value.reason == "NO_RIGHT"
    with connect(locked_server, CONTROLLER) as client:
        assert client.load_model("second.safetensors").name == "second"
        client.unload_model("second")


@pytest.mark.parametrize(("token", "reason"), [(None, "NO_TOKEN"), (UNKNOWN, "BAD_TOKEN")])
def test_without_a_valid_token_only_probes_are_answered(
    locked_server: Server, token: str | None, reason: str
) -> None:
    with connect(locked_server, token) as client:
        for call in (
            lambda: client.generate(seeds=1, nfe=3),
            client.models,
            client.model,
            lambda: client.load_model("second.safetensors"),
            lambda: client.unload_model("nouns32"),
        ):
            with pytest.raises(skipstream.Unauthenticated) as refused:
                call()
            assert refused.value.reason == reason
        assert client.health() == skipstream.Health(live=True, ready=True)
    assert locked_server.metrics().value("rejected_total", reason=reason) == 5


def test_tokens_are_added_and_revoked_while_the_server_runs(
    locked_server: Server, auth_file: Path
) -> None:
    with connect(locked_server, REVOKED) as client:
        running = client.stream(seeds=1, nfe=999)
        next(running)
        auth_file.write_text(
            auth(entry(GENERATOR, "studio", "generate"), entry(UNKNOWN, "lab", "generate"))
        )
        wait_until(lambda: len(events(locked_server, "reloaded")) == 1, "the file is read again")
        with pytest.raises(skipstream.Unauthenticated):
            client.models()
        assert isinstance(list(running)[-1], skipstream.Completed), "what was accepted goes on"
    for token in (GENERATOR, UNKNOWN):
        with connect(locked_server, token) as client:
            assert client.models()


def test_a_bad_file_leaves_the_old_one_in_force(locked_server: Server, auth_file: Path) -> None:
    bad_files = [EVERYBODY[:100], "", json.dumps({"tokens": [{"sha256": UNKNOWN}]}), UNKNOWN]
    for count, bad in enumerate(bad_files, start=1):
        auth_file.write_text(bad)
        wait_until(
            lambda count=count: (
                len(events(locked_server, "not reloaded, what was in force stays")) == count
            ),
            "the log says that the file is bad",
        )
        with connect(locked_server, GENERATOR) as client:
            assert client.models()
    (*_, line) = events(locked_server, "not reloaded, what was in force stays")
    assert line["level"] == "error"
    assert line["what"] == "--auth_file"
    assert UNKNOWN not in locked_server.errors()


def test_a_server_does_not_start_with_a_file_it_does_not_understand(auth_file: Path) -> None:
    auth_file.write_text('{"tokens": [{"sha256": "abc", "rights": ["generate"]}]}')
    done = subprocess.run(
        [binary("skipstream-server"), f"--auth_file={auth_file}", "--listen=127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "--auth_file: tokens[0].sha256: must be" in done.stderr


def test_no_secret_is_ever_logged(locked_server: Server, auth_file: Path) -> None:
    for token in (GENERATOR, CONTROLLER, REVOKED, UNKNOWN, None):
        with connect(locked_server, token) as client:
            for call in (
                lambda: client.generate(seeds=1, nfe=3, model=UNKNOWN),
                lambda: client.generate(seeds=1, nfe=-1),
                lambda: client.load_model("missing.safetensors"),
                lambda: client.unload_model("missing"),
            ):
                with pytest.raises(skipstream.SkipstreamError):
                    call()
    channel = grpc.insecure_channel(locked_server.target)
    stub = image_generation_pb2_grpc.ImageGenerationStub(channel)
    for metadata in (
        [("authorization", UNKNOWN)],
        [("authorization", f"Basic {UNKNOWN}")],
        [("authorization", f"Bearer {GENERATOR}"), ("authorization", f"Bearer {UNKNOWN}")],
        [("authorization", f"Bearer {GENERATOR}"), ("x-secret", UNKNOWN * 400)],
        [("authorization", f"Bearer {UNKNOWN * 400}")],
    ):
        with pytest.raises(grpc.RpcError):
            list(stub.Generate(GenerateRequest(), metadata=metadata, timeout=PATIENCE))
    channel.close()
    auth_file.write_text(EVERYBODY.replace('"studio"', f'"{UNKNOWN}!"'))
    wait_until(lambda: "not reloaded" in locked_server.errors(), "the bad file is seen")
    log = locked_server.errors()
    assert events(locked_server, "refused"), "there was something to log"
    for token in (GENERATOR, CONTROLLER, REVOKED, UNKNOWN):
        assert token not in log
        assert hashlib.sha256(token.encode()).hexdigest() not in log


def test_every_call_leaves_one_line_with_its_tenant(locked_server: Server) -> None:
    with connect(locked_server, GENERATOR) as client:
        client.generate(seeds=[1, 2], nfe=3, solver="heun")
        with pytest.raises(skipstream.InvalidRequest):
            client.generate(seeds=1, nfe=-1)
    done, invalid = generated(locked_server, 2)
    assert done["tenant"] == invalid["tenant"] == "studio"
    assert (done["code"], invalid["code"]) == ("OK", "INVALID_ARGUMENT")
    assert done["model"] == "nouns32"
    assert done["solver"] == "heun"
    assert (done["nfe"], done["images"], done["evaluations"]) == (3, 2, 6)
    assert done["total_seconds"] >= done["run_seconds"] > 0
    assert done["request_id"] != invalid["request_id"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_hostile_names_stay_on_their_line(
    new_server: Callable[..., Server], log_format: str
) -> None:
    server = new_server(f"--log_format={log_format}")
    hostile = 'x"}\n{"level":"error","message":"forged"}\r\n\x1b[2J\u2028\u009b2J'
    before = len(server.errors().splitlines())
    with skipstream.Client(server.target, retry=NO_RETRY) as client:
        for request in (
            GenerateRequest(request_id=hostile),
            GenerateRequest(model=hostile),
            GenerateRequest(request_id='"},{"a":"', model="nouns32"),
        ):
            request.sampler.nfe = 3
            with contextlib.suppress(skipstream.SkipstreamError):
                client.generate(request)
    wait_until(lambda: len(server.errors().split("\n")) > before + 3, "the calls are logged")
    lines = server.errors().split("\n")[before:-1]
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)
    if log_format == "json":
        assert {json.loads(line)["message"] for line in lines} == {"generate"}
        assert json.loads(lines[2])["request_id"] == '"},{"a":"'


def test_the_trace_and_the_id_travel_there_and_back(
    new_server: Callable[..., Server], cli: Cli
) -> None:
    server = new_server("--log_format=json")
    with grpc.insecure_channel(server.target) as channel:
        call = image_generation_pb2_grpc.ImageGenerationStub(channel).Generate(
            GenerateRequest(request_id="order-66"),
            metadata=[("traceparent", TRACEPARENT)],
            timeout=PATIENCE,
        )
        first, *_ = list(call)
        answered = dict(call.initial_metadata())
    assert first.accepted.request_id == answered["x-request-id"] == "order-66"
    assert answered["traceparent"] == TRACEPARENT
    done = cli(
        *("generate", f"--server={server.target}", "--nfe=3", "--out=a.png"),
        f"--traceparent={TRACEPARENT}",
    )
    assert done.returncode == 0, done.stderr
    with skipstream.Client(server.target, retry=NO_RETRY) as client:
        client.generate(nfe=3, traceparent=TRACEPARENT)
        client.generate(nfe=3, traceparent="00-nonsense")
    *traced, untraced = generated(server, 4)
    assert [line["trace_id"] for line in traced] == ["0af7651916cd43dd8448eb211c80319c"] * 3
    assert "traceparent" not in untraced


def test_the_command_makes_tokens_and_sends_them(
    locked_server: Server, auth_file: Path, cli: Cli, tmp_path: Path
) -> None:
    made = cli("token", "--out=mine.token", "--tenant=studio", "--control")
    assert made.returncode == 0, made.stderr
    token_file = tmp_path / "mine.token"
    token = token_file.read_text().strip()
    assert token_file.stat().st_mode & 0o777 == 0o600
    assert token not in made.stdout + made.stderr
    assert json.loads(made.stdout) == entry(token, "studio", "generate", "control")
    assert cli("token", "--out=mine.token").returncode == 1, "no token is written over"

    server = f"--server={locked_server.target}"
    refused = cli("models", server, "--token_file=mine.token")
    assert refused.returncode == 1
    assert "not one of those this server knows" in refused.stderr
    auth_file.write_text(auth(json.loads(made.stdout)))
    wait_until(lambda: len(events(locked_server, "reloaded")) == 1, "the file is read again")
    assert cli("models", server, "--token_file=mine.token").returncode == 0
    assert cli("models", server).returncode == 1


def test_the_command_sends_no_token_in_clear_to_another_machine(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.token").write_text(UNKNOWN + "\n")
    done = cli("models", "--server=192.0.2.1:50051", "--token_file=mine.token")
    assert done.returncode == 2
    assert "not encrypted" in done.stderr
    assert "--tls" in done.stderr
    assert UNKNOWN not in done.stderr


def test_an_open_server_says_nothing_of_tokens_and_a_locked_one_warns_without_tls(
    new_server: Callable[..., Server], locked_server: Server
) -> None:
    assert "not encrypted" not in new_server().errors()
    wait_until(lambda: "not encrypted" in locked_server.errors(), "the server warns")


def test_a_hangup_reads_the_files_at_once_and_ends_nothing(
    new_server: Callable[..., Server], auth_file: Path
) -> None:
    server = new_server(f"--auth_file={auth_file}", "--reload_interval=86400")
    server.process.send_signal(signal.SIGHUP)  # nothing has changed
    auth_file.write_text(auth(entry(GENERATOR, "studio", "generate")))
    server.process.send_signal(signal.SIGHUP)

    def revoked() -> bool:
        with connect(server, REVOKED) as client:
            try:
                client.models()
            except skipstream.Unauthenticated:
                return True
            return False

    wait_until(revoked, "the tokens were not read again")
    with connect(server, GENERATOR) as client:
        client.models()
