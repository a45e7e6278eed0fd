"""tools/train: the command."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import torch
from skipstream_files import remove_leftovers, say

from skipstream_train import config as config_module
from skipstream_train import model_file
from skipstream_train.config import Config
from skipstream_train.data import open_data
from skipstream_train.errors import TrainError
from skipstream_train.progress import CURVE, LOG, Progress, read_log, sparkline
from skipstream_train.state import load, locked
from skipstream_train.training import Trainer

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        command: dict[str, Command] = {"run": run, "status": status, "export": export}
        return command[args.command](args)
    except (TrainError, OSError) as error:
        say(f"tools/train: {error}", errors=True)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/train",
        description="Trains a network that the server can load.",
        epilog="docs/training.md explains.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser(
        "run", help="train, or go on where the last checkpoint in RUN is",
        description="Trains as CONFIG says and keeps everything in the folder RUN. SIGTERM and "
        "SIGINT write a checkpoint and end; the same command goes on, also after a kill.",
    )  # fmt: skip
    run.add_argument("config", type=Path, metavar="CONFIG.toml")
    run.add_argument("folder", type=Path, metavar="RUN")
    run.add_argument(
        "--init", type=Path, metavar="MODEL.safetensors",
        help="start from these weights instead of random ones",
    )  # fmt: skip
    run.add_argument(
        "--images", type=int, metavar="N", help="instead of training.images: where to end"
    )
    run.add_argument(
        "--threads", type=int, metavar="N", default=os.cpu_count() or 1,
        help="on a CPU; default: all cores",
    )  # fmt: skip
    run.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="default: cuda where there is a GPU",
    )  # fmt: skip

    status = commands.add_parser("status", help="how far a run is")
    status.add_argument("folder", type=Path, metavar="RUN")

    export = commands.add_parser(
        "export", help="write the averaged weights of the last checkpoint as a model file"
    )
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("output", type=Path, metavar="OUTPUT.safetensors")
    export.add_argument(
        "--skip_tuning_from", type=Path, metavar="MODEL.safetensors",
        help="keep the skip-tuning presets of this file; they were found for other weights",
    )  # fmt: skip
    export.add_argument("--force", action="store_true", help="replace OUTPUT if it exists")
    return parser


def run(args: argparse.Namespace) -> int:
    config = config_module.load(args.config)
    if args.images is not None:
        if args.images < max(1, config.training.cooldown_images):
            raise TrainError("--images must be at least 1 and training.cooldown_images")
        training = dataclasses.replace(config.training, images=args.images)
        config = dataclasses.replace(config, training=training)
    if args.threads < 1:
        raise TrainError("--threads must be at least 1")
    device = _device(args.device)
    args.folder.mkdir(parents=True, exist_ok=True)
    with locked(args.folder):
        remove_leftovers(args.folder)
        trainer = _prepared(config, args, device)
        state = trainer.state
        progress = Progress(
            args.folder, config.training.images, config.output.log_images, state.images
        )
        with StopSignals() as stop:
            finished = trainer.run(args.folder, progress, stop.is_set)
    again = shlex.join(["tools/train", *sys.argv[1:]])
    if finished:
        print(f"Finished: {state.images_seen:,} images seen. Export with")
        say(f"  tools/train export {shlex.quote(str(args.folder))} OUTPUT.safetensors")
    else:
        say(f"Stopped after {state.images:,} images. To go on:\n  {again}")
    return 0


def status(args: argparse.Namespace) -> int:
    saved = load(args.folder)
    if saved is None:
        raise TrainError(f"{args.folder}: no checkpoint")
    entries = read_log(args.folder / LOG)
    images, target = saved.counters["images"], saved.config["training"]["images"]
    print(f"checkpoint   {images:,} of {target:,} images; {saved.images_seen:,} seen in all")
    if entries:
        last = entries[-1]
        print(f"log          {last.images:,} images, {last.images_per_second:.1f} images/s")
        print(f"loss         {last.loss:.4f} {sparkline([e.loss for e in entries], 60)}")
        say(f"curve        {args.folder / CURVE}")
    return 0


def export(args: argparse.Namespace) -> int:
    if args.output.suffix != ".safetensors":
        raise TrainError(f"{args.output}: the name must end in .safetensors")
    saved = load(args.folder)
    if saved is None:
        raise TrainError(f"{args.folder}: no checkpoint")
    config = config_module.parse(json.loads(json.dumps(saved.config)), args.folder)
    metadata = model_file.metadata_of(config, saved.classes, saved.images_seen)
    if args.skip_tuning_from is not None:
        other = model_file.read(args.skip_tuning_from)
        if "skip_tuning" not in other.metadata:
            raise TrainError(f"{args.skip_tuning_from}: has no skip_tuning presets")
        metadata["skip_tuning"] = other.metadata["skip_tuning"]
    model_file.write(args.output, saved.ema, metadata, args.force)
    say(f"{args.output}: {saved.images_seen:,} images seen")
    return 0


def _prepared(config: Config, args: argparse.Namespace, device: torch.device) -> Trainer:
    """A trainer at the start, or where the last checkpoint is."""
    saved = load(args.folder)
    if saved is not None:
        # Through JSON: a checkpoint knows lists where a configuration has tuples.
        ours = json.loads(json.dumps(config.to_json()))
        changed = config_module.difference(json.loads(json.dumps(saved.config)), ours)
        if changed is not None:
            raise TrainError(f"{args.folder} was begun with another {changed}; use another folder")
    data = open_data(config, device)
    trainer = Trainer(config, data, device, args.threads)
    if saved is not None:
        if saved.classes != data.classes:
            raise TrainError(f"{args.folder} was begun with other classes; use another folder")
        trainer.resume(saved)
        print(f"Going on after {trainer.state.images:,} images.", flush=True)
    elif args.init is not None:
        trainer.start_from(model_file.read(args.init), args.init)
    count = sum(parameter.numel() for parameter in trainer.state.net.parameters())
    threads = f", {args.threads} threads" if device.type == "cpu" else ""
    print(
        f"{count:,} parameters, {len(data.classes)} classes, {config.training.precision} on "
        f"{device.type}{threads}",
        flush=True,
    )
    return trainer


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainError("--device=cuda: PyTorch sees no GPU")
    return torch.device(name)


class StopSignals:
    """Set by the first SIGTERM or SIGINT; the second one does what it always does."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __enter__(self) -> StopSignals:
        self._received = False
        self._before = {number: signal.getsignal(number) for number in self.SIGNALS}
        for number in self.SIGNALS:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def is_set(self) -> bool:
        return self._received

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
