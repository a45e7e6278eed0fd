"""Attacks beside a steady load, each between two stretches without it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field

from harness import Server

from soak.attacks import ATTACKS
from soak.pool import Pool
from soak.progress import Progress
from soak.server import settled_memory
from soak.statistics import growth_percent
from soak.steady import SteadyLoad, Window, sustainable_rate

# Of what a lone client gets: the server has room, and a queue is the attack's doing.
LOAD = 0.3


@dataclass
class Attacked:
    quiet: Window = field(default_factory=Window)
    attacked: Window = field(default_factory=Window)
    done: int = 0  # frames, calls or connections, as the attack counts
    cpu: float = 0.0  # cores the server used while attacked, over what the load alone takes
    peak_bytes: int = 0  # resident, over what it was before
    rss_growth_percent: float = 0.0  # once the attack is over

    def p99_ratio(self) -> float:
        return self.attacked.p99() / self.quiet.p99()


class HostileSoak:
    def __init__(self, server: Server, pool: Pool, seed: int, progress: Progress) -> None:
        self._server = server
        self._pool = pool
        self._seed = seed
        self._progress = progress

    async def run(self, names: list[str], rounds: int, seconds: float) -> dict[str, Attacked]:
        """Each attack `rounds` times for `seconds`, and as long without before each."""
        rate = await sustainable_rate(self._server.target, self._pool, LOAD)
        load = SteadyLoad(self._server.target, self._pool, rate, self._seed)
        self._progress.note(f"steady load: {rate:.1f} requests a second")
        results = {}
        for name in names:
            results[name] = await self._attack(name, load, rounds, seconds)
        await load.close()
        return results

    async def _attack(self, name: str, load: SteadyLoad, rounds: int, seconds: float) -> Attacked:
        result = Attacked()
        for _ in range(rounds):
            self._progress.show(f"attack: {name}")
            before = settled_memory(self._server)
            cpu = self._server.cpu_seconds()
            result.quiet.add(await load.run(seconds))
            quiet_cpu = self._server.cpu_seconds() - cpu

            attacker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "soak.attacks", name, self._server.target, str(seconds),
                stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
            )  # fmt: skip
            try:
                assert attacker.stdout is not None
                await attacker.stdout.readline()  # it has begun
                watch = asyncio.create_task(self._peak())
                cpu = self._server.cpu_seconds()
                result.attacked.add(await load.run(seconds))
                result.cpu += (self._server.cpu_seconds() - cpu - quiet_cpu) / (seconds * rounds)
                output, _ = await attacker.communicate()
                watch.cancel()
                result.done += json.loads(output)["done"]
            finally:
                if attacker.returncode is None:
                    attacker.kill()
                    await attacker.wait()
            result.peak_bytes = max(result.peak_bytes, self._peak_bytes - before)
            # The last round's: what the first one has filled is not given back between two.
            result.rss_growth_percent = growth_percent(before, settled_memory(self._server))
        self._progress.note(
            f"{name}: {result.done} done, p99 {1e3 * result.quiet.p99():.0f} -> "
            f"{1e3 * result.attacked.p99():.0f} ms, server {result.cpu:+.2f} cores, "
            f"peak +{result.peak_bytes >> 20} MiB, after {result.rss_growth_percent:+.1f} %"
        )
        for error in (result.quiet.errors + result.attacked.errors)[:3]:
            self._progress.note(f"lost: {error}")
        return result

    async def _peak(self) -> None:
        self._peak_bytes = 0
        while True:
            self._peak_bytes = max(self._peak_bytes, self._server.resident_bytes())
            await asyncio.sleep(0.05)


def every_attack() -> list[str]:
    return list(ATTACKS)
