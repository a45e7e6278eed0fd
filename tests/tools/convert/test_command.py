"""The command: what it writes, says and leaves alone."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    ROOT,
    Call,
    Fixture,
    Name,
    dumps,
    edm_pickle,
    fixture,
    read_safetensors,
    small_fixture,
    torch_zip,
    whole,
)
from skipstream_convert.cli import main


@pytest.fixture(scope="module")
def model() -> Fixture:
    return small_fixture()


@pytest.fixture
def checkpoint(tmp_path: Path, model: Fixture) -> Path:
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(edm_pickle(model.preconditioning, model.tensors, model.config))
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


Captured = pytest.CaptureFixture[str]


def refused(captured: Captured, *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    out, err = captured.readouterr()
    assert out == ""
    assert err.startswith("tools/convert: ")
    return err


def test_the_script_writes_a_model_file(
    tmp_path: Path, checkpoint: Path, output: Path, model: Fixture
) -> None:
    classes = tmp_path / "classes.json"
    names = [f"class {i}" for i in range(9)] + ["Ämne"]
    classes.write_text(json.dumps(names), encoding="utf-8-sig")  # with a byte order mark
    flags = ("--classes", classes, "--license", "CC BY-NC-SA 4.0")
    result = subprocess.run(
        [ROOT / "tools/convert", checkpoint, output, *flags],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    count = sum(a.size for a in model.parameters.values())
    for line in (
        "EDMPrecond, SongUNet, 16x16, 3 channels",
        f"parameters  {count} ",
        "skips       K = 9",
        "classes     10, named",
        "license     CC BY-NC-SA 4.0",
    ):
        assert line in result.stdout

    metadata, tensors = read_safetensors(output)
    assert metadata["preconditioning"] == "EDMPrecond"
    config = json.loads(metadata["config"])
    assert {key: config[key] for key in model.config} == model.config
    assert json.loads(metadata["classes"]) == names
    assert metadata["license"] == "CC BY-NC-SA 4.0"
    assert metadata["source"] == "snapshot.pkl"
    assert metadata["source_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert metadata["source_format"] == "edm"
    assert tensors.keys() == model.parameters.keys()
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(tensors[name], array)
    assert stat.S_IMODE(output.stat().st_mode) == 0o666 & ~current_umask()
    assert sorted(os.listdir(tmp_path)) == ["classes.json", "model.safetensors", "snapshot.pkl"]


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_script_refuses_with_a_status(tmp_path: Path, output: Path) -> None:
    hostile = tmp_path / "evil.pkl"
    owned = tmp_path / "owned"
    hostile.write_bytes(dumps({"ema": Call(Name("os", "system"), (f"touch {owned}",))}))
    command = [ROOT / "tools/convert", hostile, output]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "refuses global 'os.system'" in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == ["evil.pkl"]
    usage = subprocess.run(
        [ROOT / "tools/convert", hostile], capture_output=True, text=True, timeout=60
    )
    assert usage.returncode == 2


def test_the_source_text_of_a_checkpoint_is_not_run(
    tmp_path: Path, output: Path, model: Fixture
) -> None:
    # SOURCE, in every persistent object of these files, would end this process.
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(edm_pickle(model.preconditioning, model.tensors, model.config))
    assert b"SystemExit" in path.read_bytes()
    assert main([str(path), str(output)]) == 0


def test_an_existing_file_is_replaced_only_when_asked(
    checkpoint: Path, output: Path, capsys: Captured
) -> None:
    output.write_bytes(b"precious")
    assert "exists; --force replaces it" in refused(capsys, checkpoint, output)
    assert output.read_bytes() == b"precious"
    assert main([str(checkpoint), str(output), "--force"]) == 0
    assert read_safetensors(output)[0]["preconditioning"] == "EDMPrecond"


def test_a_failure_while_writing_leaves_nothing_new(
    tmp_path: Path, output: Path, model: Fixture, capsys: Captured
) -> None:
    name = "model.map_layer1.weight"  # after others in the file
    broken = model.tensors[name].copy()
    broken[0, 0] = np.nan
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(edm_pickle("EDMPrecond", {**model.tensors, name: whole(broken)}, model.config))
    output.write_bytes(b"precious")
    assert "not finite" in refused(capsys, path, output, "--force")
    assert output.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors", "snapshot.pkl"]


def test_flags_say_what_a_state_dict_does_not(
    tmp_path: Path, output: Path, capsys: Captured
) -> None:
    model = fixture("ncsnpp-ve")
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(torch_zip({k: v for k, v in model.tensors.items() if "filter" not in k}))
    flags = ("--preconditioning=VEPrecond", "--config=resample_filter=[1,3,3,1]")
    assert main([str(path), str(output), *flags, "--config=sigma_max=50"]) == 0
    assert "with --config resample_filter, sigma_max" in capsys.readouterr().out
    config = json.loads(read_safetensors(output)[0]["config"])
    assert config["sigma_max"] == 50
    assert config["resample_filter"] == [1, 3, 3, 1]


@pytest.mark.parametrize(
    "flags",
    [
        ("--config", "novalue"),
        ("--config", "num_blocks=three"),
        ("--config", "=3"),
        ("--preconditioning", "XPrecond"),
        ("--format", "onnx"),
        ("--qkv_layout", "new"),
        ("--resolution", "big"),
    ],
)
def test_wrong_flags_are_named(checkpoint: Path, output: Path, flags: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(checkpoint), str(output), *flags])
    assert caught.value.code == 2
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["a"]', "a list of 10 names, one per class; has 1"),
        ('{"a": 1}', "a list of 10 names, one per class; has a dict"),
        (json.dumps(["a"] * 10), "[1]: repeats 'a'"),
        (json.dumps(list(range(10))), "[0]: must be a name"),
        (json.dumps([*"abcdefghi", ""]), "[9]: must be a name"),
        (json.dumps([*"abcdefghi", "x" * 257]), "[9]: must be a name"),
        (json.dumps([*"abcdefghi", "\ud800"]), "[9]: must be a name"),
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\xff", "not JSON"),
        (" " * (1 << 20) + "[]", "longer than"),
    ],
)
def test_class_names_are_checked(
    tmp_path: Path, checkpoint: Path, output: Path, capsys: Captured, text: str, message: str
) -> None:
    path = tmp_path / "classes.json"
    path.write_text(text, encoding="latin1")
    assert message in refused(capsys, checkpoint, output, "--classes", path)
    assert not output.exists()


def test_files_that_cannot_be_read_or_written(
    tmp_path: Path, checkpoint: Path, output: Path, capsys: Captured
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    assert "No such file" in refused(capsys, tmp_path / "absent", output)
    assert "not a regular file" in refused(capsys, tmp_path / "pipe", output)
    assert "not a regular file" in refused(capsys, "/dev/zero", output)
    assert "irectory" in refused(capsys, tmp_path, output)
    assert "the file is empty" in refused(capsys, tmp_path / "empty", output)
    assert "No such file" in refused(capsys, checkpoint, tmp_path / "no" / "x.safetensors")
    assert "must end in .safetensors" in refused(capsys, checkpoint, tmp_path / "x.pkl")


def test_a_lack_of_memory_is_said(
    checkpoint: Path, output: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("skipstream_convert.cli.convert", exhausted)
    assert "needs more memory than there is" in refused(capsys, checkpoint, output)
    assert not output.exists()


def test_names_that_are_not_text(
    tmp_path: Path, checkpoint: Path, output: Path, capsys: Captured
) -> None:
    assert "--license is not UTF-8" in refused(capsys, checkpoint, output, "--license", "\udcff")
    odd = checkpoint.rename(tmp_path / "\udcff.pkl")
    target = tmp_path / "\udcfe.safetensors"
    assert main([str(odd), str(target)]) == 0
    assert read_safetensors(target)[0]["source"] == "\ufffd.pkl"


def test_messages_show_no_control_characters(
    tmp_path: Path, output: Path, capsys: Captured
) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(dumps(Name("\x1b[31mos", "system\r\n")))
    message = refused(capsys, path, output)
    assert message.rstrip("\n").isprintable()
