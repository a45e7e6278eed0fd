"""Our evaluations against PyTorch's of the same network and weights, in turns.

Every round measures every mode once, so that whatever the machine does meanwhile hits all of them;
reported are the medians and, per round, ratios to each mode of PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SKIPSTREAM_BUILD_DIR", "build/release")
BENCH = BUILD / "bin" / "skipstream_bench_executor"
# torch.compile's C++ needs these besides the Python package of ./dev setup.
os.environ.setdefault(
    "CPATH",
    ":".join(
        str(ROOT / ".deps/python/torch/include" / part) for part in ("", "torch/csrc/api/include")
    ),
)
sys.path[:0] = [str(ROOT / "tools")]

import torch  # noqa: E402
from skipstream_train import model_file  # noqa: E402
from skipstream_train.unet import Denoiser  # noqa: E402

OURS = ("fused-bfloat16", "fused-float32")


class Worker:
    """skipstream_bench_executor, which answers a number of rows with seconds."""

    def __init__(self, model: str, form: str, threads: int) -> None:
        command = [BENCH, f"--worker={form}", f"--model={model}", f"--threads={threads}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self, rows: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{rows}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@contextmanager
def model_path(model: str) -> Iterator[Path]:
    """The default model, or a random one that is gone afterwards."""
    if model == "nouns32":
        yield ROOT / "model/zoo/nouns32.safetensors"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model}.safetensors"
        subprocess.run([BENCH, f"--model={model}", f"--write_random={path}"], check=True)
        yield path


def pytorch_modes(net: Denoiser, compiled: bool) -> dict[str, Callable[[int], float]]:
    """Seconds of one evaluation of a batch, by mode."""
    import copy

    config = net.config

    def inputs(rows: int, memory: torch.memory_format) -> tuple[torch.Tensor, ...]:
        size = (rows, config.img_channels, config.img_resolution, config.img_resolution)
        x = torch.randn(size).contiguous(memory_format=memory)
        sigma = torch.linspace(0.1, 2.0, rows)
        labels = torch.eye(config.label_dim)[:rows] if config.label_dim else None
        rho = torch.full((rows, config.num_skips), 0.95)
        return x, sigma, labels, rho  # type: ignore[return-value]

    def mode(
        network: Callable[..., torch.Tensor], memory: torch.memory_format, rounds: bool
    ) -> Callable[[int], float]:
        cache: dict[int, tuple[torch.Tensor, ...]] = {}

        def seconds(rows: int) -> float:
            given = cache.setdefault(rows, inputs(rows, memory))
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=rounds):
                began = time.perf_counter()
                network(*given)
                return time.perf_counter() - began

        return seconds

    last = torch.channels_last
    plain, ordered = net, copy.deepcopy(net).to(memory_format=last)
    modes = {
        "eager float32": mode(plain, torch.contiguous_format, False),
        "eager bfloat16": mode(plain, torch.contiguous_format, True),
        "eager bfloat16 channels-last": mode(ordered, last, True),
    }
    if compiled:
        for name, rounds in (("compiled float32", False), ("compiled bfloat16", True)):
            network = torch.compile(copy.deepcopy(net), dynamic=False)
            modes[name] = mode(network, torch.contiguous_format, rounds)
    return modes


def spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def compare(model: str, rows: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Prints a table for one network and batch size; returns what it says."""
    with model_path(model) as path:
        modes = pytorch_modes(
            model_file.denoiser_of(model_file.read(path)), not arguments.no_compile
        )
        workers = {form: Worker(str(path), form, arguments.threads) for form in OURS}
        modes |= {
            form: (lambda rows, worker=worker: worker.seconds(rows))  # type: ignore[misc]
            for form, worker in workers.items()
        }
        for name, seconds in modes.items():
            began = time.monotonic()
            for _ in range(2):  # compiles, takes memory, chooses kernels
                seconds(rows)
            if time.monotonic() - began > 20:
                print(f"  {name}: prepared in {time.monotonic() - began:.0f} s", flush=True)
        times: dict[str, list[float]] = {name: [] for name in modes}
        for _ in range(arguments.repeats):
            for name, seconds in modes.items():
                times[name].append(seconds(rows))
        for worker in workers.values():
            worker.stop()
    theirs = [name for name in modes if name not in OURS]
    best = min(theirs, key=lambda name: statistics.median(times[name]))
    ours = min(OURS, key=lambda name: statistics.median(times[name]))
    print(f"{model}, {rows} rows, {arguments.threads} threads: ms, median (min..max)")
    for name, values in times.items():
        ms = [1e3 * value for value in values]
        ratio = [a / b for a, b in zip(values, times[ours], strict=True)]
        print(
            f"  {name:30} {statistics.median(ms):8.2f} ({min(ms):.2f}..{max(ms):.2f})"
            f"   {statistics.median(ratio):.2f} times {ours}'s ({min(ratio):.2f}..{max(ratio):.2f})"
        )
    against = {
        "vs_eager_fp32": "eager float32",
        "vs_best_pytorch": best,
    }
    ratios = {
        key: spread([a / b for a, b in zip(times[name], times[ours], strict=True)])
        for key, name in against.items()
    }
    return {
        **{key: value["median"] for key, value in ratios.items()},
        "rows": rows,
        "ours": ours,
        "best_pytorch": best,
        "spread": ratios,
        "milliseconds": {name: spread([1e3 * v for v in values]) for name, values in times.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./dev bench peers", description="Our evaluations against PyTorch's, in turns."
    )
    parser.add_argument("--model", nargs="+", default=["nouns32", "cifar10"])
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    result = {model: compare(model, arguments.rows, arguments) for model in arguments.model}
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
