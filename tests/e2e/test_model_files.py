"""Model files nobody should load: a clear error, never a crash."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import skipstream
from harness import MODEL, PATIENCE, Server, assert_same_image, binary
from hostile_files import HOSTILE_FILES, hostile_file

# Through the command line it takes a process each, so a choice of them; all go through Load.
ON_THE_COMMAND_LINE = (
    "empty",
    "cut-in-header",
    "one-byte-short",
    "length-of-everything",
    "header-deeply-nested",
    "missing-tensor-and-data",
    "shape-wraps-to-right-size",
    "offsets-overlap",
    "no-config",
    "gigantic-channels",
    "million-blocks",
    "pickle",
)


def start_with(model: str | Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            binary("skipstream-server"),
            "--listen=127.0.0.1:0",
            "--metrics_listen=127.0.0.1:0",
            f"--model={model}",
            *flags,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
    )


def assert_refused(result: subprocess.CompletedProcess[str], name: str) -> None:
    assert 0 < result.returncode < 128, f"{result.returncode}: {result.stderr}"
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if name in line]
    assert len(lines) == 1, result.stderr
    assert len(lines[0]) < 1000


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_the_server_does_not_start_with_a_bad_file(tmp_path: Path, name: str) -> None:
    with hostile_file(name, MODEL, tmp_path) as file:
        assert_refused(start_with(tmp_path / file), file)


def test_the_server_does_not_start_without_its_file(tmp_path: Path) -> None:
    assert_refused(start_with(tmp_path / "absent.safetensors"), "absent.safetensors")
    assert_refused(start_with("absent", f"--model_dir={tmp_path}"), "absent")


def test_things_that_are_not_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "zero"):
        assert_refused(start_with(tmp_path / f"{name}.safetensors"), f"{name}.safetensors")


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_bad_file_is_refused_by_load(
    client: skipstream.Client, server: Server, model_dir: Path, name: str
) -> None:
    with (
        hostile_file(name, MODEL, model_dir) as file,
        pytest.raises(skipstream.InvalidRequest) as caught,
    ):
        client.load_model(file)
    assert file in caught.value.message
    assert len(caught.value.message) < 2000
    assert server.process.poll() is None


def test_bad_files_leave_the_service_as_it_was(client: skipstream.Client, model_dir: Path) -> None:
    before = client.generate(seeds=1, nfe=3)[0]
    with (
        hostile_file("cut-in-data", MODEL, model_dir) as file,
        pytest.raises(skipstream.InvalidRequest),
    ):
        client.load_model(file, "broken")
    assert [m.name for m in client.models()] == ["nouns32"]
    assert client.health() == skipstream.Health(live=True, ready=True)
    assert client.generate(seeds=1, nfe=3)[0].data == before.data


@pytest.mark.parametrize(
    "file",
    [
        "",
        "../nouns32.safetensors",
        "sub/x.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "nouns32",
        "a\x00b.safetensors",
        "x" * 5000 + ".safetensors",
    ],
)
def test_paths_out_of_the_model_folder_are_refused(client: skipstream.Client, file: str) -> None:
    with pytest.raises(skipstream.InvalidRequest) as caught:
        client.load_model(file)
    assert [v.field for v in caught.value.violations] == ["file"]


@pytest.mark.parametrize("name", ["../x", "a b", "-x", "ä", "x" * 65, "a/b", "\n"])
def test_bad_names_are_refused(client: skipstream.Client, name: str) -> None:
    with pytest.raises(skipstream.InvalidRequest) as caught:
        client.load_model("second.safetensors", name)
    assert [v.field for v in caught.value.violations] == ["name"]


def test_a_second_model_can_be_loaded_used_and_unloaded_while_in_use(
    client: skipstream.Client, server: Server
) -> None:
    loaded = client.load_model("second.safetensors", "other")
    assert loaded.name == "other"
    assert loaded.sha256 == client.model().sha256
    with pytest.raises(skipstream.AlreadyExists):
        client.load_model("second.safetensors", "other")
    assert [m.name for m in client.models()] == ["nouns32", "other"]
    assert server.metrics().value("model_loaded", model="other") == 1

    same = {"seeds": 9, "nfe": 5}
    (default,) = client.generate(**same)
    (other,) = client.generate(**same, model="other")
    assert_same_image(other, default)

    events = client.stream(model="other", solver="euler", nfe=60)
    assert isinstance(next(events), skipstream.Accepted)
    client.unload_model("other")
    with pytest.raises(skipstream.NotFound, match="nouns32"):
        client.generate(model="other", nfe=1)
    rest = list(events)
    assert isinstance(rest[-1], skipstream.Completed)
    assert any(isinstance(event, skipstream.ImageReady) for event in rest)
    assert [m.name for m in client.models()] == ["nouns32"]
    assert server.metrics().value("model_loaded", model="other") == 0


def test_the_default_model_stays(client: skipstream.Client) -> None:
    with pytest.raises(skipstream.PreconditionFailed):
        client.unload_model("nouns32")
    with pytest.raises(skipstream.NotFound, match="nouns32"):
        client.unload_model("nope")


def test_model_control_is_closed_unless_asked_for(new_server: Callable[..., Server]) -> None:
    with new_server().client() as client:
        with pytest.raises(skipstream.PermissionDenied, match="enable_model_control"):
            client.load_model("nouns32.safetensors", "x")
        with pytest.raises(skipstream.PermissionDenied, match="enable_model_control"):
            client.unload_model("nouns32")


def test_two_models_on_the_command_line(new_server: Callable[..., Server], model_dir: Path) -> None:
    server = new_server(f"--model={model_dir / 'second.safetensors'}", "--model=nouns32")
    with server.client() as client:
        assert [(m.name, m.is_default) for m in client.models()] == [
            ("second", True),
            ("nouns32", False),
        ]
