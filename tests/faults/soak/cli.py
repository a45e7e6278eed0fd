"""What a server has to stand, one thing after the other; fails if it does not."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import skipstream
from harness import MODEL, Server

from soak.aborts import AbortSoak, Outcome
from soak.attacks import ATTACKS
from soak.hostile import Attacked, HostileSoak
from soak.overload import OVERLOAD, measure_overload
from soak.pool import Pool, make_pool
from soak.progress import Progress
from soak.retrying import clients
from soak.server import settled_memory, soak_server
from soak.statistics import growth_percent
from soak.steady import SteadyLoad, Window, sustainable_rate
from soak.tenants import VICTIM, measure_tenants, write_auth_file

# Bounds. Those of time are wide: attackers take their share of the same cores, the machine may have
# other things to do, and 64 large images that nobody reads are work like any other.
MAX_RSS_GROWTH_PERCENT = 15.0
MAX_P99_RATIO = 4.0
MAX_HOSTILE_P99_RATIO = 8.0
MAX_TENANT_P99_RATIO = 2.0
MIN_GOODPUT_RATIO = 0.8
MIN_OFFERED = 0.7 * OVERLOAD  # times what the device can take: the clients kept up
MAX_LATE_PERCENT = 10.0
MAX_IDLE_CORES = 0.05

# Steady load beside attacks, of what a lone client gets: the server has room.
_LOAD = 0.3
_CONNECTIONS = "idle connections"
_INVALID = "invalid requests"


@dataclass(frozen=True)
class Sizes:
    distinct: int  # requests in the pool
    requests: int  # of the abort soak
    together: int  # attacks at a time; 1: each alone
    rounds: int  # of each attack
    seconds: float  # of an attack, and of the stretch without before it
    invalid: int  # requests
    restarts: int  # in each of the two ways
    tenant_rounds: int  # of a busy stretch and a flooded one
    tenant_requests: int  # of the one tenant, in each
    overload_rounds: int  # of a stretch at capacity and one far beyond
    overload_seconds: float  # of each
    leniency: float  # factor of the bounds on time, which are those of very few requests if short


SHORT = Sizes(
    distinct=12,
    requests=400,
    together=6,
    rounds=1,
    seconds=2,
    invalid=2_000,
    restarts=1,
    tenant_rounds=1,
    tenant_requests=20,
    overload_rounds=1,
    overload_seconds=2,
    leniency=4,
)
LONG = Sizes(
    distinct=48,
    requests=10_000,
    together=1,
    rounds=2,
    seconds=4,
    invalid=100_000,
    restarts=5,
    tenant_rounds=5,
    tenant_requests=100,
    overload_rounds=5,
    overload_seconds=6,
    leniency=1,
)


class Soak:
    def __init__(self, sizes: Sizes, seed: int, folder: Path, progress: Progress) -> None:
        self._sizes = sizes
        self._seed = seed
        self._folder = folder
        self._progress = progress
        self._pool = Pool([], [])
        self.result: dict[str, Any] = {"requests": 0, "lost": 0, "wrong_images": 0}

    def run(self) -> None:
        with soak_server(self._folder) as server:
            self._pool = asyncio.run(make_pool(server.target, self._sizes.distinct, self._seed))
            self._progress.note(f"{len(self._pool.requests)} distinct requests have a reference")
            self._aborts(server)
            asyncio.run(self._attacks(server))
            self._idle(server)
            server.wait_idle()
            self.result["leaked_slots"] = int(server.metrics().value("slots_in_use"))
        self._tenants()
        asyncio.run(self._overload())
        asyncio.run(self._restarts())

    def _count(self, requests: int, lost: int, wrong_images: int) -> None:
        self.result["requests"] += requests
        self.result["lost"] += lost
        self.result["wrong_images"] += wrong_images

    def _aborts(self, server: Server) -> None:
        def soak(requests: int, seed: int) -> Outcome:
            soak = AbortSoak(server.target, self._pool, requests, seed, self._progress)
            outcome = asyncio.run(soak.run())
            self._count(outcome.requests, outcome.lost, outcome.wrong_images)
            for error in outcome.errors[:5]:
                self._progress.note(f"lost: {error}")
            return outcome

        # The first ones fill what the server keeps: allocators, threads, buffers of connections.
        soak(max(100, self._sizes.requests // 10), self._seed)
        before = settled_memory(server)
        outcome = soak(self._sizes.requests, self._seed + 1)
        after = settled_memory(server)
        self._progress.note(
            f"{outcome.requests} requests, {outcome.survivors} meant to survive, aborted: "
            f"{dict(outcome.aborted)}, of which {outcome.finished_anyway} were done already; "
            f"p99 {outcome.p99_ratio():.2f} times what it was, memory {before >> 20} -> "
            f"{after >> 20} MiB"
        )
        self.result["aborted"] = sum(outcome.aborted.values())
        self.result["rss_growth_percent"] = round(growth_percent(before, after), 2)
        self.result["p99_ratio"] = round(outcome.p99_ratio(), 3)

    async def _attacks(self, server: Server) -> None:
        rate = await sustainable_rate(server.target, self._pool, _LOAD)
        self._progress.note(f"steady load beside attacks: {rate:.1f} requests a second")
        load = SteadyLoad(server.target, self._pool, rate, self._seed)
        hostile = HostileSoak(server, load, self._progress)
        quiet, attacked = Window(), Window()
        self.result["hostile"] = {}
        seconds = self._sizes.seconds
        others = [name for name in ATTACKS if name != _INVALID]
        for names in [[_INVALID], *_groups(others, self._sizes.together)]:
            if names == [_INVALID]:
                one = await hostile.run(names, 1, seconds, self._sizes.invalid)
            else:
                one = await hostile.run(names, self._sizes.rounds, seconds)
            self.result["hostile"][" + ".join(names)] = _summary(one)
            quiet.add(one.quiet)
            attacked.add(one.attacked)
        await load.close()
        for window in (quiet, attacked):
            self._count(window.requests, window.lost, window.wrong_images)
        self.result["hostile_p99_ratio"] = round(attacked.p99() / quiet.p99(), 3)
        invalid = server.metrics().value("requests_total", code="INVALID_ARGUMENT")
        self.result["invalid_requests"] = int(invalid)

    def _idle(self, server: Server) -> None:
        before = settled_memory(server)
        attack = ATTACKS[_CONNECTIONS](server.target, random.Random())
        opened = 0
        while more := next(attack):
            opened += more
        with server.client() as client:
            client.health()  # it has seen them all
        memory = server.resident_bytes() - before
        cpu, start = server.cpu_seconds(), time.monotonic()
        time.sleep(self._sizes.seconds)
        cores = (server.cpu_seconds() - cpu) / (time.monotonic() - start)
        self.result["idle_connections"] = {
            "connections": opened,
            "cores": round(cores, 4),
            "kib_each": round(memory / opened / 1024, 1),
        }
        self._progress.note(
            f"{opened} idle connections: {100 * cores:.1f} % of a core, "
            f"{memory / opened / 1024:.1f} KiB each"
        )

    def _tenants(self) -> None:
        auth_file = write_auth_file(self._folder)
        flag = f"--auth_file={auth_file}"
        with soak_server(self._folder, flag, max_batch=2, token=VICTIM) as server:
            found = measure_tenants(server, self._sizes.tenant_rounds, self._sizes.tenant_requests)
        self.result["tenant_p99_ratio"] = round(found.p99_ratio(), 3)
        self.result["tenant_median_ratio"] = round(found.median_ratio(), 3)
        self._progress.note(
            f"a tenant beside one that floods: p99 {found.p99_ratio():.2f} times that beside one "
            f"that is busy, median {found.median_ratio():.2f}"
        )

    async def _overload(self) -> None:
        # Steps that are long enough for the clients to be no more than a small part of the work.
        with soak_server(self._folder, model=MODEL, max_batch=2) as server:
            found = await measure_overload(
                server.target,
                self._sizes.overload_rounds,
                self._sizes.overload_seconds,
                self._seed,
            )
        low, high = found.spread()
        self.result["goodput_ratio"] = round(found.goodput_ratio(), 3)
        self.result["offered_ratio"] = round(found.offered(), 2)
        self.result["late_percent"] = round(found.late_percent(), 2)
        self._progress.note(
            f"{found.offered():.1f} times the load: {found.goodput_ratio():.2f} ({low:.2f} to "
            f"{high:.2f}) of the images that the device makes without are delivered in time, "
            f"{found.late_percent():.1f} % of what was not refused is late, p99 {found.p99():.2f} s"
        )

    async def _restarts(self) -> None:
        """A server is killed, or asked to end, and another replaces it; clients have retries."""
        patient = skipstream.RetryPolicy(max_attempts=1000, max_backoff=0.1)
        restarts = 2 * self._sizes.restarts
        with ExitStack() as stack:
            server = stack.enter_context(soak_server(self._folder))
            target = server.target
            for number in range(restarts):
                self._progress.show(f"restart {number + 1} of {restarts}")
                async with clients(target, self._pool, 8, patient) as tally:
                    await tally.reach(20)
                    if number % 2:
                        server.terminate()
                        await asyncio.to_thread(server.wait)
                    else:
                        server.kill()
                    start = soak_server(self._folder, listen=target)
                    server = await asyncio.to_thread(stack.enter_context, start)
                    await tally.reach(tally.done + 20)
                self._count(tally.requests, len(tally.errors), tally.wrong_images)
                for error in tally.errors[:3]:
                    self._progress.note(f"lost: {error}")
        self.result["restarts"] = restarts
        self._progress.note(f"{restarts} restarts, half of them after SIGKILL")

    def failures(self) -> list[str]:
        """What is over its bound."""
        result = self.result
        found = [key for key in ("lost", "wrong_images", "leaked_slots") if result[key]]
        bounds = {
            "rss_growth_percent": MAX_RSS_GROWTH_PERCENT,
            "p99_ratio": MAX_P99_RATIO * self._sizes.leniency,
            "hostile_p99_ratio": MAX_HOSTILE_P99_RATIO * self._sizes.leniency,
            "tenant_p99_ratio": MAX_TENANT_P99_RATIO * self._sizes.leniency,
            "late_percent": MAX_LATE_PERCENT * self._sizes.leniency,
        }
        found += [key for key, bound in bounds.items() if result[key] > bound]
        if result["goodput_ratio"] < MIN_GOODPUT_RATIO / self._sizes.leniency:
            found.append("goodput_ratio")
        if result["offered_ratio"] < MIN_OFFERED / self._sizes.leniency:
            found.append("offered_ratio")
        if result["idle_connections"]["cores"] > MAX_IDLE_CORES:
            found.append("idle_connections")
        return found


def _groups(names: list[str], size: int) -> list[Sequence[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


def _summary(one: Attacked) -> dict[str, Any]:
    return {
        "done": sum(one.done.values()),
        "p99_ratio": round(one.p99_ratio(), 3),
        "server_cores": round(one.cpu, 3),
        "peak_mib": one.peak_bytes >> 20,
        "rss_growth_percent": round(one.rss_growth_percent, 2),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="about one minute instead of thirteen")
    parser.add_argument("--json", action="store_true", help="end with one JSON line on stdout")
    parser.add_argument("--requests", type=int, help="of the abort soak (10000, short: 400)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (1)")
    options = parser.parse_args(arguments)
    sizes = SHORT if options.short else LONG
    if options.requests is not None:
        sizes = replace(sizes, requests=options.requests)
    # So that whatever ends us, our servers end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="skipstream-soak-") as folder:
        soak = Soak(sizes, options.seed, Path(folder), progress)
        soak.run()
    failures = soak.failures()
    progress.note("failed: " + ", ".join(failures) if failures else "passed")
    if options.json:
        print(json.dumps(soak.result))
    return 1 if failures else 0
