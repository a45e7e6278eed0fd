"""Attacks beside a steady load, each between two stretches without it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness import Server

from soak.progress import Progress
from soak.server import settled_memory
from soak.statistics import growth_percent
from soak.steady import SteadyLoad, Window


@dataclass
class Attacked:
    quiet: Window = field(default_factory=Window)
    attacked: Window = field(default_factory=Window)
    done: Counter[str] = field(default_factory=Counter)  # frames, calls or connections, by attack
    cpu: float = 0.0  # cores the server used while attacked, over what the load alone takes
    peak_bytes: int = 0  # resident, over what it was before
    # Once the last round is over, over what it was before it: what the first one fills is kept.
    rss_growth_percent: float = 0.0

    def p99_ratio(self) -> float:
        return self.attacked.p99() / self.quiet.p99()


class HostileSoak:
    def __init__(self, server: Server, load: SteadyLoad, progress: Progress) -> None:
        self._server = server
        self._load = load
        self._progress = progress
        self._peak = 0  # resident bytes

    async def run(
        self, names: Sequence[str], rounds: int, seconds: float, count: int = 0
    ) -> Attacked:
        """These attacks at once, `rounds` times, and `seconds` without before each.

        For `seconds`, and until they have done what they do `count` times.
        """
        result = Attacked()
        for _ in range(rounds):
            before = settled_memory(self._server)
            self._peak = before
            cpu = self._server.cpu_seconds()
            self._progress.show(f"the load alone, before: {', '.join(names)}")
            result.quiet.add(await self._load.run(seconds))
            quiet_cpu = self._server.cpu_seconds() - cpu

            attacked_cpu = await self._attack(names, seconds, count, result)
            result.cpu += (attacked_cpu - quiet_cpu) / (seconds * rounds)
            result.peak_bytes = max(result.peak_bytes, self._peak - before)
            result.rss_growth_percent = growth_percent(before, settled_memory(self._server))
        self._progress.note(
            f"{', '.join(f'{count} {name}' for name, count in result.done.items())}: "
            f"p99 {1e3 * result.quiet.p99():.0f} -> {1e3 * result.attacked.p99():.0f} ms, server "
            f"{result.cpu:+.2f} cores, peak {result.peak_bytes >> 20:+d} MiB, then "
            f"{result.rss_growth_percent:+.1f} %"
        )
        for error in (result.quiet.errors + result.attacked.errors)[:3]:
            self._progress.note(f"lost: {error}")
        return result

    async def _attack(
        self, names: Sequence[str], seconds: float, count: int, result: Attacked
    ) -> float:
        """Adds what happened to `result`; returns the processor time that the server took."""
        attacker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "soak.attacks", self._server.target),
            *(str(seconds), str(count), *names),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        )
        try:
            assert attacker.stdout is not None
            await attacker.stdout.readline()  # it begins
            watch = asyncio.create_task(self._watch_memory())
            cpu = self._server.cpu_seconds()
            start = time.monotonic()
            output = asyncio.create_task(attacker.communicate())
            while not output.done():
                passed = time.monotonic() - start
                self._progress.show(f"{passed:.0f} s of attacks: {', '.join(names)}")
                result.attacked.add(await self._load.run(seconds))
            # As if it had lasted for `seconds`.
            cpu = (self._server.cpu_seconds() - cpu) * seconds / (time.monotonic() - start)
            watch.cancel()
            if attacker.returncode != 0:
                raise RuntimeError(f"the attacker failed: {', '.join(names)}")
            result.done.update(json.loads(output.result()[0]))
        finally:
            if attacker.returncode is None:
                attacker.kill()
                await attacker.wait()
        return cpu

    async def _watch_memory(self) -> None:
        while True:
            self._peak = max(self._peak, self._server.resident_bytes())
            await asyncio.sleep(0.05)
