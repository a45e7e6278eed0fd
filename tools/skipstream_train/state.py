"""The state of a run at a moment, and its checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from skipstream_files import replaced
from torch import Tensor

from skipstream_train.errors import TrainError
from skipstream_train.optimizer import Adam
from skipstream_train.unet import Denoiser

CHECKPOINT = "checkpoint.pt"
VERSION = 1


@dataclass
class State:
    """All a step reads and writes.

    There is no generator here: the random numbers of a step come from the seed and the number of
    the step alone, so a resumed run continues as if nothing had happened.
    """

    net: Denoiser
    ema: dict[str, Tensor]
    optimizer: Adam
    config: dict[str, Any]
    classes: list[str]
    images_before: int = 0  # that the file this run started from had seen
    step: int = 0
    images: int = 0  # of this run
    skipped: int = 0  # steps without a finite gradient, which changed nothing
    skipped_in_a_row: int = 0
    seconds: float = 0.0  # spent in training

    @property
    def images_seen(self) -> int:
        return self.images_before + self.images


COUNTERS = ("images_before", "step", "images", "skipped", "skipped_in_a_row", "seconds")


@dataclass
class Saved:
    """A checkpoint in its form on disk."""

    config: dict[str, Any]
    classes: list[str]
    net: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Any]
    counters: dict[str, Any] = field(default_factory=dict)

    @property
    def images_seen(self) -> int:
        return int(self.counters["images_before"] + self.counters["images"])


def save(state: State, folder: Path) -> None:
    """Replaces the checkpoint in one step: a kill at any moment leaves the old one or the new."""
    contents = {
        "version": VERSION,
        "config": state.config,
        "classes": state.classes,
        "net": state.net.state_dict(),
        "ema": state.ema,
        "optimizer": state.optimizer.state_dict(),
        "counters": {name: getattr(state, name) for name in COUNTERS},
    }
    with replaced(folder / CHECKPOINT) as file:
        torch.save(contents, file)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """So that a rename survives the loss of power too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(folder: Path) -> Saved | None:
    """The checkpoint of a run; None if it has none yet. Executes nothing from the file."""
    path = folder / CHECKPOINT
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
        if contents.pop("version") != VERSION:
            raise TrainError(f"{path}: written by another version of tools/train")
        return Saved(**contents)
    except FileNotFoundError:
        return None
    except (RuntimeError, pickle.UnpicklingError, LookupError, ValueError, TypeError,
            AttributeError, EOFError):  # fmt: skip
        raise TrainError(f"{path}: not a checkpoint of tools/train") from None


def restore(state: State, saved: Saved) -> None:
    state.net.load_state_dict(saved.net)
    for name, value in saved.ema.items():
        state.ema[name].copy_(value)
    state.optimizer.load_state_dict(saved.optimizer)
    for name in COUNTERS:
        setattr(state, name, saved.counters[name])


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One trainer per run; the lock ends with the process, however it ends."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainError(f"{folder}: another tools/train works in this folder") from None
        yield
