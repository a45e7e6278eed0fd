"""./dev soak: everything at once is too much for a server; one thing after the other is not."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from harness import Server

from soak.aborts import AbortSoak
from soak.pool import Pool, make_pool
from soak.progress import Progress
from soak.server import settled_memory, soak_server
from soak.statistics import growth_percent

Result = dict[str, object]

# What a run may take of the server before it counts as a failure.
MAX_RSS_GROWTH_PERCENT = 15.0


def run_aborts(server: Server, pool: Pool, requests: int, seed: int, progress: Progress) -> Result:
    # The first ones fill what the server keeps: allocators, threads, buffers of connections.
    warm = asyncio.run(
        AbortSoak(server.target, pool, max(100, requests // 10), seed, progress).run()
    )
    before = settled_memory(server)
    outcome = asyncio.run(AbortSoak(server.target, pool, requests, seed + 1, progress).run())
    after = settled_memory(server)
    progress.note(
        f"aborts: {outcome.requests} requests, {outcome.survivors} survivors, aborted: "
        f"{dict(outcome.aborted)}, of which {outcome.finished_anyway} were done already"
    )
    for error in outcome.errors[:5]:
        progress.note(f"lost: {error}")
    return {
        "requests": outcome.requests,
        "survivors": outcome.survivors,
        "aborted": sum(outcome.aborted.values()),
        "lost": outcome.lost + warm.lost,
        "wrong_images": outcome.wrong_images + warm.wrong_images,
        "leaked_slots": int(server.metrics().value("slots_in_use")),
        "rss_growth_percent": round(growth_percent(before, after), 2),
        "p99_ratio": round(outcome.p99_ratio(), 3),
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute instead of ten")
    parser.add_argument("--json", action="store_true", help="end with one JSON line on stdout")
    parser.add_argument("--requests", type=int, help="of the abort soak (10000; short: 400)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (1)")
    options = parser.parse_args(arguments)
    if options.requests is None:
        options.requests = 400 if options.short else 10_000
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="skipstream-soak-") as folder:
        with soak_server(Path(folder)) as server:
            pool = asyncio.run(make_pool(server.target, 12 if options.short else 48, options.seed))
            progress.note(f"{len(pool.requests)} distinct requests have their reference")
            result = run_aborts(server, pool, options.requests, options.seed, progress)
    failures = [key for key in ("lost", "wrong_images", "leaked_slots") if result[key]]
    if result["rss_growth_percent"] > MAX_RSS_GROWTH_PERCENT:
        failures.append("rss_growth_percent")
    progress.note("failed: " + ", ".join(failures) if failures else "passed")
    if options.json:
        print(json.dumps(result))
    return 1 if failures else 0
