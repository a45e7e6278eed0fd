"""Latency and throughput under open-loop load, against request-level batching and a PyTorch server.

Requests arrive as a Poisson process whatever the server does, each with its own NFE, rho, class and
seed; latency counts from the moment a request was due. A request is on time if it took less than 5
times what one alone takes at its NFE; a load is met if 99 % are. Systems:

  skipstream      this server: continuous batching per evaluation
  request-level   this server behind a dynamic batcher: when it is free, the oldest request and the
                  equal ones that wait (same NFE and rho) run to their ends as one batch
  litserve        the same network in PyTorch behind LitServe, which batches requests as well
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import statistics
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "client/python/src")]

from skipstream import AsyncClient, RetryPolicy  # noqa: E402
from skipstream_quality.server import DEFAULT_BINARY, own_server  # noqa: E402
from skipstream_quality.svg import Panel, Series, draw  # noqa: E402

NFES = {5: 0.3, 9: 0.3, 19: 0.2, 39: 0.12, 79: 0.08}  # and how often each is asked for
RHOS = (1.0, 0.95, 1.05)
SLO = 5.0  # times the lone latency
MET = 0.99


@dataclass(frozen=True)
class Request:
    """One image."""

    due: float  # seconds from the start
    nfe: int
    rho: float
    class_index: int
    seed: int


@dataclass
class Result:
    """Results of a system under a load."""

    offered: float  # images/s
    latencies: list[tuple[Request, float]] = field(default_factory=list)
    failures: int = 0
    seconds: float = 0.0
    rows_per_evaluation: float | None = None
    device_busy: float | None = None  # share of the time

    def summary(self, lone: dict[int, float]) -> dict[str, Any]:
        """Latencies also as multiples of the lone one at the request's NFE."""
        seconds = sorted(latency for _, latency in self.latencies)
        slowdown = sorted(latency / lone[request.nfe] for request, latency in self.latencies)
        within = sum(value < SLO for value in slowdown) / max(1, len(slowdown) + self.failures)
        return {
            "offered": self.offered,
            "images_per_second": len(seconds) / self.seconds,
            "p50": quantile(seconds, 0.50),
            "p95": quantile(seconds, 0.95),
            "p99": quantile(seconds, 0.99),
            "p99_slowdown": quantile(slowdown, 0.99),
            "within_slo": within,
            "failures": self.failures,
            "rows_per_evaluation": self.rows_per_evaluation,
            "device_busy": self.device_busy,
        }


class System(Protocol):
    """Something that makes images."""

    name: str

    async def generate(self, request: Request) -> None:
        """Returns when the image is there; raises if it will not come."""

    def counters(self) -> dict[str, float] | None:
        """Evaluations, their rows and their seconds so far, if the system reports them."""


class Skipstream:
    """Every request by itself."""

    name = "skipstream"

    def __init__(self, client: AsyncClient, metrics_url: str) -> None:
        self._client = client
        self._metrics_url = metrics_url

    async def generate(self, request: Request) -> None:
        await self.generate_equal([request])

    async def generate_equal(self, requests: list[Request]) -> None:
        first = requests[0]
        await self._client.generate(
            seeds=[r.seed for r in requests],
            classes=[r.class_index for r in requests],
            nfe=first.nfe,
            rho=first.rho,
            format="raw",
        )

    def counters(self) -> dict[str, float] | None:
        with urllib.request.urlopen(self._metrics_url, timeout=10) as response:
            text = response.read().decode()

        def total(name: str) -> float:
            values = re.findall(rf"^skipstream_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
            return sum(map(float, values))

        return {
            "evaluations": total("batch_rows_count"),
            "rows": total("batch_rows_sum"),
            "seconds": total("evaluation_seconds_sum"),
        }


class RequestLevel:
    """A dynamic batcher before the server: equal requests run together, one batch at a time."""

    name = "request-level"

    def __init__(self, server: Skipstream, max_batch: int) -> None:
        self._server = server
        self._max_batch = max_batch
        self._waiting: deque[tuple[Request, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def generate(self, request: Request) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, done))
        self._wake.set()
        await done

    def counters(self) -> dict[str, float] | None:
        return self._server.counters()

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            head = self._waiting[0][0]
            equal = [
                entry
                for entry in self._waiting
                if (entry[0].nfe, entry[0].rho) == (head.nfe, head.rho)
            ][: self._max_batch]
            for entry in equal:
                self._waiting.remove(entry)
            try:
                await self._server.generate_equal([request for request, _ in equal])
            except Exception as error:
                for _, done in equal:
                    done.set_exception(error)
            else:
                for _, done in equal:
                    done.set_result(None)


class LitServe:
    """bench/serving/litserve_server.py, over HTTP."""

    name = "litserve"

    def __init__(self, url: str, http: Any) -> None:
        self._url = url
        self._http = http

    async def generate(self, request: Request) -> None:
        response = await self._http.post(
            f"{self._url}/predict",
            json={
                "nfe": request.nfe,
                "rho": request.rho,
                "class_index": request.class_index,
                "seed": request.seed,
            },
            timeout=600,
        )
        response.raise_for_status()

    def counters(self) -> dict[str, float] | None:
        return None


def quantile(values: list[float], share: float) -> float:
    """Percentile of sorted values; NaN if there are none."""
    if not values:
        return math.nan
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def draw_requests(rate: float, seconds: float, seed: int) -> list[Request]:
    """A Poisson process of requests."""
    source = random.Random(seed)
    requests = []
    due = source.expovariate(rate)
    while due < seconds:
        (nfe,) = source.choices(list(NFES), list(NFES.values()))
        requests.append(
            Request(due, nfe, source.choice(RHOS), source.randrange(64), source.getrandbits(32))
        )
        due += source.expovariate(rate)
    return requests


async def lone_latencies(system: System, repeats: int) -> dict[int, float]:
    """Median seconds of a request alone, by NFE."""
    lone = {}
    for nfe in NFES:
        times = []
        for i in range(repeats):
            began = time.monotonic()
            await system.generate(Request(0.0, nfe, 1.0, i % 64, i))
            times.append(time.monotonic() - began)
        lone[nfe] = statistics.median(times)
    return lone


async def offer(system: System, rate: float, seconds: float, seed: int, patience: float) -> Result:
    """Sends the requests when they are due and waits for all, but not longer than `patience`."""
    result = Result(rate)
    before = system.counters()
    start = time.monotonic()

    async def one(request: Request) -> None:
        await asyncio.sleep(max(0.0, start + request.due - time.monotonic()))
        try:
            await system.generate(request)
        except Exception:
            result.failures += 1
        else:
            result.latencies.append((request, time.monotonic() - start - request.due))

    tasks = [asyncio.create_task(one(r)) for r in draw_requests(rate, seconds, seed)]
    _, late = await asyncio.wait(tasks, timeout=seconds + patience)
    result.seconds = max(seconds, time.monotonic() - start)
    for task in late:
        task.cancel()
    result.failures += len(late)
    after = system.counters()
    if before is not None and after is not None:
        evaluations, rows, busy = (after[k] - before[k] for k in ("evaluations", "rows", "seconds"))
        result.rows_per_evaluation = rows / evaluations if evaluations else None
        result.device_busy = busy / result.seconds
    return result


async def capacity(system: Skipstream, max_batch: int, seconds: float) -> dict[str, float]:
    """With always enough requests: rows/s, and what an evaluation takes besides the device."""
    before = system.counters()
    assert before is not None
    start = time.monotonic()

    async def keep_busy(i: int) -> None:
        n = 0
        while time.monotonic() - start < seconds:
            n += 1
            await system.generate(Request(0.0, 19, 1.0, i % 64, i * 1000 + n))

    await asyncio.gather(*(keep_busy(i) for i in range(2 * max_batch)))
    wall = time.monotonic() - start
    after = system.counters()
    assert after is not None
    rows, evaluations, busy = (after[k] - before[k] for k in ("rows", "evaluations", "seconds"))
    return {
        "rows_per_second": rows / wall,
        "device_busy": busy / wall,
        "milliseconds_per_evaluation": 1e3 * busy / evaluations,
        "overhead_milliseconds_per_evaluation": 1e3 * (wall - busy) / evaluations,
    }


async def memory(system: Skipstream, requests: int, in_flight: int = 64) -> list[int]:
    """Resident bytes of the server at the start and after each tenth of a run of short requests."""
    (child,) = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    statm = Path(f"/proc/{child}/statm")

    def resident() -> int:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    seeds = iter(range(requests))

    async def work(until: int) -> None:
        for seed in seeds:
            await system.generate(Request(0.0, 5, 1.0, seed % 64, seed))
            if seed >= until:
                return

    sizes = [resident()]
    for tenth in range(1, 11):
        await asyncio.gather(*(work(requests * tenth // 10 - in_flight) for _ in range(in_flight)))
        sizes.append(resident())
    return sizes


def show(name: str, summary: dict[str, Any]) -> None:
    """One line of the table."""
    rows = summary["rows_per_evaluation"]
    print(
        f"  {name:14} offered {summary['offered']:6.2f}/s"
        f"  made {summary['images_per_second']:6.2f}/s"
        f"  p50 {summary['p50']:6.2f} s  p95 {summary['p95']:6.2f}  p99 {summary['p99']:6.2f}"
        f"  p99 slowdown {summary['p99_slowdown']:6.1f}  on time {summary['within_slo']:6.1%}"
        + ("" if rows is None else f"  rows {rows:5.2f}"),
        flush=True,
    )


def best_load(points: list[dict[str, Any]]) -> float:
    """The most images/s on time at a load that is met, 0 if none is."""
    met = [p["images_per_second"] * p["within_slo"] for p in points if p["within_slo"] >= MET]
    return max(met, default=0.0)


async def measure(arguments: argparse.Namespace, systems: AsyncExitStack) -> dict[str, Any]:
    """Every system at every load, in turns."""
    flags = [f"--max_batch={arguments.max_batch}", "--warmup_budget=2", *arguments.server_flag]
    metrics_port = free_port()
    flags.append(f"--metrics_listen=127.0.0.1:{metrics_port}")
    address = systems.enter_context(own_server(DEFAULT_BINARY, arguments.model, flags))
    client = AsyncClient(address, retry=RetryPolicy(max_attempts=1))
    systems.push_async_callback(client.close)
    ours = Skipstream(client, f"http://127.0.0.1:{metrics_port}/metrics")
    all_systems: list[System] = [ours, RequestLevel(ours, arguments.max_batch)]
    sizes = []
    if arguments.memory:
        sizes = await memory(ours, arguments.memory)
        print(
            f"resident after each tenth of {arguments.memory} requests, MiB: "
            + ", ".join(f"{size / 2**20:.0f}" for size in sizes),
            flush=True,
        )
    if arguments.litserve:
        all_systems.append(await start_litserve(arguments, systems))
    saturated = await capacity(ours, arguments.max_batch, arguments.seconds / 2)
    rows = saturated["rows_per_second"]
    mean_nfe = sum(nfe * share for nfe, share in NFES.items())
    images = rows / mean_nfe
    lone = {system.name: await lone_latencies(system, 5) for system in all_systems}
    alone = 79 / lone["skipstream"][79]
    print(
        f"capacity {rows:.0f} rows/s, {images:.2f} images/s of this mix; {alone:.0f} rows/s alone\n"
        f"saturated, the device is busy {saturated['device_busy']:.1%} of the time: "
        f"{saturated['milliseconds_per_evaluation']:.2f} ms per evaluation and "
        f"{saturated['overhead_milliseconds_per_evaluation']:.2f} ms between two",
        flush=True,
    )
    points: dict[str, list[dict[str, Any]]] = {system.name: [] for system in all_systems}
    for number, load in enumerate(arguments.loads):
        for system in all_systems:
            if len(points[system.name]) >= 2 and all(
                p["within_slo"] < 0.5 for p in points[system.name][-2:]
            ):
                continue  # drowned
            result = await offer(
                system, load * images, arguments.seconds, number, arguments.patience
            )
            points[system.name].append(result.summary(lone[system.name]) | {"load": load})
            show(system.name, points[system.name][-1])
    best = {name: best_load(list_) for name, list_ in points.items()}
    for name, value in best.items():
        print(f"{name}: {value:.2f} images/s on time at the highest load that was met")
    gain = best["skipstream"] / best["request-level"] if best["request-level"] else None
    return {
        "saturated": saturated,
        "resident_bytes": sizes,
        "alone_rows_per_second": alone,
        "curve_gain": rows / alone,
        "lone_seconds": lone,
        "points": points,
        "images_per_second_within_slo": best,
        "gain_over_request_level": gain,
    }


async def start_litserve(arguments: argparse.Namespace, systems: AsyncExitStack) -> LitServe:
    """Its own process; waits until it answers."""
    import httpx

    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "litserve_server.py"),
        str(port),
        str(arguments.max_batch),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def stop() -> None:
        process.terminate()
        await process.wait()

    systems.push_async_callback(stop)
    http = await systems.enter_async_context(
        httpx.AsyncClient(limits=httpx.Limits(max_connections=1000))
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            if (await http.get(f"{url}/health")).status_code == 200:
                return LitServe(url, http)
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.5)
    raise SystemExit("litserve did not start")


def free_port() -> int:
    """Returns a port of loopback that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_plot(result: dict[str, Any], file: Path) -> None:
    """On time and slowdown against the offered load."""

    def series(pick: Callable[[dict[str, Any]], float]) -> list[Series]:
        return [
            Series(name, [(p["offered"], pick(p)) for p in points])
            for name, points in result["points"].items()
        ]

    file.write_text(
        draw(
            [
                [
                    Panel(
                        "On time", "images/s offered", "share",
                        series(lambda p: p["within_slo"]), level=MET, level_label="met",
                    ),
                    Panel(
                        "99th percentile", "images/s offered", "times the lone latency",
                        series(lambda p: p["p99_slowdown"]), log_y=True, level=SLO,
                        level_label="limit",
                    ),
                ]
            ]
        )
    )  # fmt: skip


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    async with AsyncExitStack() as systems:
        return await measure(arguments, systems)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./dev bench serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default=str(ROOT / "model/zoo/nouns32.safetensors"))
    parser.add_argument("--max_batch", type=int, default=16)
    parser.add_argument("--server-flag", action="append", default=[])
    parser.add_argument(
        "--loads", type=float, nargs="+", default=[0.3, 0.5, 0.65, 0.8, 0.9, 0.97],
        help="shares of the capacity that is measured first",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=45.0, help="of each load")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds after the last one")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="REQUESTS",
        help="first watch the server's memory over so many requests",
    )  # fmt: skip
    parser.add_argument("--litserve", action="store_true", help="measure LitServe as well")
    parser.add_argument("--plot", type=Path, help="SVG to write")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    result = asyncio.run(run(arguments))
    if arguments.plot is not None:
        write_plot(result, arguments.plot)
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("SKIPSTREAM_MAX_REQUESTS", "100000")
    os.environ.setdefault("SKIPSTREAM_MAX_EVALUATIONS", "10000000")
    sys.exit(main())
