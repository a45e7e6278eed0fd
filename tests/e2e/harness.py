"""Runs the real server binary and looks at it from outside: gRPC, /metrics, /proc."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, get_args

import numpy as np
import pytest
import skipstream
from prometheus_client.parser import text_string_to_metric_families
from skipstream.options import SolverName

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SKIPSTREAM_BUILD_DIR", "build/release")
MODEL = ROOT / "model" / "zoo" / "nouns32.safetensors"

# AddressSanitizer surrounds and shadows memory that is allocated.
MEMORY_FACTOR = 1.5 if "ASAN_OPTIONS" in os.environ else 1.0
# Seconds that anything may take before a test fails instead of hanging. Nothing is measured with
# it. Programs with sanitizers take several times as long.
PATIENCE = 60.0 * float(os.environ.get("SKIPSTREAM_PATIENCE", "1"))

NO_RETRY = skipstream.RetryPolicy(max_attempts=1)

# Runs the command with these arguments (the fixture `cli`).
Cli = Callable[..., subprocess.CompletedProcess[str]]


def binary(name: str) -> Path:
    path = BUILD / "bin" / name
    if not os.access(path, os.X_OK):
        pytest.fail(
            f"{path} is missing: build it (./dev build) or set SKIPSTREAM_BUILD_DIR", pytrace=False
        )
    return path


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something another process does; fails after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not true after {PATIENCE:.0f} s: {what}")
        time.sleep(0.01)


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.families = {f.name: f for f in text_string_to_metric_families(text)}
        self._samples = [s for f in self.families.values() for s in f.samples]

    def value(self, name: str, **labels: str) -> float:
        """Sum over the samples of this name that carry these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"skipstream_{name}" and labels.items() <= sample.labels.items()
        )


class Server:
    """A server process on free loopback ports; a context manager that stops it.

    `listen`: another address, e.g. that of a server that is gone. `environment` is added to ours.
    """

    def __init__(
        self,
        *flags: str,
        log: Path,
        program: str = "skipstream-server",
        listen: str = "127.0.0.1:0",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    binary(program),
                    f"--listen={listen}",
                    "--metrics_listen=127.0.0.1:0",
                    "--warmup_budget=0.2",
                    *flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        # Read on the side, so that a server that says nothing cannot hang the test.
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.target = self._expect(r"listening on (127\.0\.0\.1:\d+)")
            self.metrics_url = self._expect(r"metrics on (http://127\.0\.0\.1:\d+/metrics)")
        except BaseException:
            self.kill()
            raise

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def _expect(self, pattern: str) -> str:
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            pytest.fail(f"no output from the server in {PATIENCE:.0f} s; log:\n{self.errors()}")
        match = re.fullmatch(pattern, line)
        if match is None:
            pytest.fail(f"expected {pattern!r} on stdout, got {line!r}; log:\n{self.errors()}")
        return match[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def errors(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def extra_output(self) -> list[str]:
        """Output on stdout after the two lines; only once the process has ended."""
        self._reader.join()
        return [line for line in list(self._lines.queue) if line]

    def client(self, retry: skipstream.RetryPolicy = NO_RETRY) -> skipstream.Client:
        return skipstream.Client(self.target, retry=retry)

    def metrics(self) -> Metrics:
        with urllib.request.urlopen(self.metrics_url, timeout=PATIENCE) as response:
            return Metrics(response.read().decode())

    def wait_idle(self) -> None:
        """Until nothing waits, runs or holds a slot."""
        gauges = ("waiting_requests", "waiting_evaluations", "running_samples", "slots_in_use")
        wait_until(
            lambda: all(self.metrics().value(gauge) == 0 for gauge in gauges),
            f"{', '.join(gauges)} are 0",
        )

    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM, without what it shares with files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"RssAnon:\s+(\d+) kB", status)[1])

    def cpu_seconds(self) -> float:
        """CPU time of all threads, in user and kernel mode, since the process began."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def context_switches(self) -> int:
        """Context switches of all threads, voluntary or not, since they began."""
        total = 0
        for status in Path(f"/proc/{self.process.pid}/task").glob("*/status"):
            total += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
        return total


def pixels(image: skipstream.GeneratedImage) -> np.ndarray:
    return np.asarray(image.image, dtype=np.int16)


SOLVERS = get_args(SolverName)


def few_evaluations(solver: str) -> int:
    """An NFE that suits the solver, as small as it can be without hiding its later orders."""
    return 7 if solver in ("heun", "dpm2") else 5


def assert_same_image(a: skipstream.GeneratedImage, b: skipstream.GeneratedImage) -> None:
    """The promise of the default mode: values within 1/255, at most 1 % of them different."""
    difference = np.abs(pixels(a) - pixels(b))
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 0.01 * difference.size


def all_at_once(
    client: skipstream.Client, requests: list[skipstream.GenerateRequest]
) -> list[skipstream.GeneratedImage]:
    """The first image of each request, all of them sent in the same moment."""
    together = threading.Barrier(len(requests))

    def one(request: skipstream.GenerateRequest) -> skipstream.GeneratedImage:
        together.wait()
        return client.generate(request)[0]

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(one, requests))
