"""A run that was interrupted is the run that was not."""

import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import make_pictures, small, small_config, toml, trainer_of
from skipstream_train import state as states
from skipstream_train.cli import StopSignals, main
from skipstream_train.config import Config
from skipstream_train.errors import TrainError
from skipstream_train.progress import Progress, read_log
from skipstream_train.state import CHECKPOINT, Saved, load, save

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pictures(tmp_path)


def train(config: Config, run: Path, steps: int | None = None) -> Saved:
    """Trains in this process, from the checkpoint in `run` if there is one."""
    run.mkdir(exist_ok=True)
    trainer = trainer_of(config)
    saved = load(run)
    if saved is not None:
        trainer.resume(saved)
    end = None if steps is None else trainer.state.step + steps
    progress = Progress(run, config.training.images, 16, trainer.state.images, out=io.StringIO())
    trainer.run(run, progress, lambda: trainer.state.step == end)
    result = load(run)
    assert result is not None
    return result


def assert_same(a: Saved, b: Saved) -> None:
    assert a.counters["step"] == b.counters["step"]
    assert a.images_seen == b.images_seen
    for kind in ("net", "ema"):
        ours, theirs = getattr(a, kind), getattr(b, kind)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]), f"{kind} {name}"


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(folder: Path, dropout: float) -> None:
    config = small_config(folder, model__dropout=dropout)
    whole = train(config, folder / "whole")
    assert whole.counters["images"] == 96
    train(config, folder / "parts", steps=1)
    train(config, folder / "parts", steps=3)
    assert_same(train(config, folder / "parts"), whole)
    log = read_log(folder / "parts" / "log.jsonl")
    assert [entry.images for entry in log] == [16, 32, 48, 64, 80, 96]
    losses = [entry.loss for entry in log]
    assert losses == [entry.loss for entry in read_log(folder / "whole" / "log.jsonl")]


@pytest.mark.parametrize("moment", ["during the write", "before the rename"])
def test_a_kill_during_a_checkpoint_leaves_the_one_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    config = small_config(folder)
    run = folder / "run"
    before = train(config, run, steps=2)
    trainer = trainer_of(config)
    trainer.resume(before)
    trainer.step()

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    if moment == "during the write":

        def cut_short(contents: object, file: io.BufferedWriter) -> None:
            buffer = io.BytesIO()
            original(contents, buffer)
            file.write(buffer.getvalue()[: buffer.tell() // 2])
            raise Killed

        original: Callable[..., None] = torch.save
        monkeypatch.setattr(states.torch, "save", cut_short)
    else:
        monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(Killed):
        save(trainer.state, run)
    monkeypatch.undo()

    assert not list(run.glob(".*"))
    after = load(run)
    assert after is not None
    assert_same(after, before)
    assert_same(train(config, run), train(config, folder / "whole"))


def test_a_file_that_is_no_checkpoint_is_refused_by_its_name(folder: Path) -> None:
    for contents in (b"", b"torn", b"PK\x03\x04"):
        (folder / CHECKPOINT).write_bytes(contents)
        with pytest.raises(TrainError, match=r"checkpoint\.pt: not a checkpoint"):
            load(folder)


class Command:
    """tools/train in a separate process."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self.log = folder / "output.txt"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [ROOT / "tools" / "train", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"ended or too slow:\n{self.output()}")
            time.sleep(0.002)

    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


def run_main(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Command]]:
    commands: list[Command] = []

    def begin(*arguments: str | Path) -> Command:
        commands.append(Command(folder, *arguments))
        return commands[-1]

    yield begin
    for command in commands:
        command.process.kill()
        command.process.wait()


def test_killed_and_stopped_runs_go_on_with_the_same_command(
    folder: Path, start: Callable[..., Command]
) -> None:
    """kill -9 while every step writes a checkpoint, then SIGTERM, then to the end."""
    text = small(output__checkpoint_seconds=0.0, training__images=4096)
    (folder / "config.toml").write_text(toml(text))
    run = folder / "run"
    arguments = ("run", folder / "config.toml", run, "--threads=1", "--device=cpu")

    killed = start(*arguments)
    killed.wait_for(lambda: len(read_log(run / "log.jsonl")) >= 5)
    killed.process.kill()
    killed.wait()
    saved = load(run)
    assert saved is not None
    at_kill = saved.counters["images"]
    assert 4 * 16 <= at_kill < 4096

    stopped = start(*arguments)
    stopped.wait_for(lambda: len(read_log(run / "log.jsonl")) >= at_kill / 16 + 5)
    # Reads while the other one writes.
    assert run_main("status", run) == 0
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.wait() == 0
    again = f"tools/train run {folder / 'config.toml'} {run} --threads=1 --device=cpu"
    assert re.search(rf"Stopped after [\d,]+ images\. To go on:\n  {again}\n", stopped.output())
    saved = load(run)
    assert saved is not None
    images = saved.counters["images"]
    assert at_kill < images < 4096

    # To the end in this process, which saves starting another one.
    end = images + 32
    changes = {"output__checkpoint_seconds": 0.0, "training__images": end}
    config = small_config(folder, **changes)
    assert_same(train(config, run), train(config, folder / "whole"))
    log = read_log(run / "log.jsonl")
    assert [entry.images for entry in log] == list(range(16, end + 1, 16))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_after_the_step_and_the_second_at_once(number: int) -> None:
    class Second(Exception):
        pass

    def second(*_: object) -> None:
        raise Second

    before = signal.signal(number, second)
    try:
        with StopSignals() as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.is_set()
            with pytest.raises(Second):
                os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


def test_a_folder_of_another_run_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small_config(folder), folder / "run", steps=1)
    (folder / "config.toml").write_text(toml(small(training__batch=8)))
    assert run_main("run", folder / "config.toml", folder / "run", "--threads=1") == 1
    assert "was begun with another training.batch" in capsys.readouterr().err


def test_two_trainers_do_not_share_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.toml").write_text(toml(small()))
    (folder / "run").mkdir()
    with states.locked(folder / "run"):
        assert run_main("run", folder / "config.toml", folder / "run", "--threads=1") == 1
    assert "another tools/train works" in capsys.readouterr().err


def test_there_is_nothing_to_export_before_the_first_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main("export", folder, folder / "out.safetensors") == 1
    assert "no checkpoint" in capsys.readouterr().err
