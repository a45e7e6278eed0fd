"""The command tools/tune."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skipstream_files import say
from skipstream_quality.errors import QualityError
from skipstream_quality.files import write_json
from skipstream_quality.options import add_service_options, open_service, run
from skipstream_quality.presets import Preset, merged, presets_json, presets_of, write_into_model
from skipstream_quality.progress import Progress
from skipstream_quality.results import Cell, beats
from skipstream_quality.service import Service
from skipstream_quality.settings import PLAIN, Setting, Tuning

from skipstream_tune.live import LiveTable, Trial, plot
from skipstream_tune.memory import Memory
from skipstream_tune.search import Plan, search
from skipstream_tune.target import (
    PARTS,
    Target,
    choose_encoder,
    from_folder,
    from_model,
    from_parts,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 for an error, 2 for a wrong command line, 130 if stopped."""
    parsed = _parser().parse_args(arguments)
    return run(lambda: _tune(parsed))


def _parser() -> argparse.ArgumentParser:
    plan = Plan()
    parser = argparse.ArgumentParser(
        prog="tools/tune",
        description="Searches for the skip-tuning (rho by depth and noise level) that brings the "
        "pictures of a model at few evaluations closest to reference pictures, through the running "
        "service, in small requests of low priority.",
    )
    parser.add_argument("--solver", default="heun")
    parser.add_argument("--nfe", type=int, nargs="+", required=True)
    parser.add_argument(
        "--reference",
        help=f"folder of pictures, or '{PARTS}' for fresh pictures of the default model's parts; "
        "default: the model's own pictures at --own-nfe evaluations",
    )
    parser.add_argument("--own-nfe", type=int, default=79, help="of heun, at rho 1 (79)")
    parser.add_argument("--reference-images", type=int, default=2000, help="made or drawn (2000)")
    parser.add_argument("--encoder", choices=("auto", "parts", "texture"), default="auto")
    grid = parser.add_argument_group("search")
    grid.add_argument("--rho", type=float, nargs="+", default=list(plan.rho), help="of the grid")
    grid.add_argument("--split", type=float, nargs=2, default=list(plan.sigma_split))
    grid.add_argument("--coarse-images", type=int, default=plan.coarse_images)
    grid.add_argument("--refine-images", type=int, default=plan.refine_images)
    grid.add_argument("--final-images", type=int, default=1024, help="per held-out seed (1024)")
    grid.add_argument("--final-seeds", type=int, default=2, help="held-out runs (2)")
    grid.add_argument("--kept", type=int, default=plan.kept)
    grid.add_argument("--rounds", type=int, default=plan.rounds)
    out = parser.add_argument_group("results")
    out.add_argument("--name", default="default", help="of the presets")
    out.add_argument(
        "--output",
        type=Path,
        default=Path("presets.json"),
        help="named NAME.presets.json beside NAME.safetensors, the server reads it with the model",
    )
    out.add_argument("--plot", type=Path, help="SVG, written anew after every NFE")
    out.add_argument(
        "--write-model", type=Path, metavar="FILE", help="also write the presets into a model file"
    )
    add_service_options(parser)
    return parser


async def _tune(arguments: argparse.Namespace) -> int:
    plan = _plan(arguments)
    async with open_service(arguments) as service:
        progress = Progress(arguments.reference_images)
        try:
            target = await _target(arguments, service, progress)
        finally:
            progress.close()
        search_of = Search(arguments, plan, service, target)
        presets = [await search_of.preset(nfe) for nfe in arguments.nfe]
    write_json(arguments.output, presets_json(merged([], presets)))
    say(f"wrote {arguments.output}")
    if arguments.write_model is not None:
        kept = presets_of(arguments.write_model)
        write_into_model(arguments.write_model, merged(kept, presets), arguments.write_model)
        say(f"wrote {len(presets)} presets into {arguments.write_model}")
    return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    low, high = arguments.split
    if not 0 < low < high:
        raise QualityError("--split needs two noise levels, the lower first")
    if min(arguments.coarse_images, arguments.refine_images, arguments.final_images) < 32:
        raise QualityError("a distance needs 32 pictures or more")
    if arguments.kept < 1 or arguments.rounds < 0 or arguments.final_seeds < 1:
        raise QualityError("--kept and --final-seeds must be 1 or more, --rounds 0 or more")
    if len(set(arguments.nfe)) != len(arguments.nfe):
        raise QualityError("--nfe names a number twice")
    rho = tuple(dict.fromkeys(value for value in arguments.rho if value != 1.0))
    if not rho or not all(0 <= value <= 2 for value in rho):
        raise QualityError("--rho needs values from 0 to 2 other than 1")
    return Plan(
        rho=rho,
        sigma_split=(low, high),
        coarse_images=arguments.coarse_images,
        refine_images=max(arguments.coarse_images, arguments.refine_images),
        kept=arguments.kept,
        rounds=arguments.rounds,
    )


async def _target(arguments: argparse.Namespace, service: Service, progress: Progress) -> Target:
    encoder = choose_encoder(arguments.encoder, service.info)
    if arguments.reference == PARTS:
        return from_parts(service.info, encoder, arguments.reference_images)
    if arguments.reference is not None:
        return from_folder(Path(arguments.reference), service.info, encoder)
    own = Setting("heun", arguments.own_nfe)
    return await from_model(service, own, arguments.reference_images, encoder, progress)


class Search:
    """Searches one NFE after the other and shows how it goes."""

    def __init__(
        self, arguments: argparse.Namespace, plan: Plan, service: Service, target: Target
    ) -> None:
        self._arguments = arguments
        self._plan = plan
        self._service = service
        self._target = target
        self._memory = Memory(arguments.cache / "tune.jsonl")
        self._table = LiveTable(arguments.solver)
        self._trials: list[Trial] = []

    async def preset(self, nfe: int) -> Preset:
        """Rho 1 unless the best tuning beats it on seeds that the search did not see."""

        async def evaluate(tuning: Tuning, images: int) -> float:
            distance = await self._distance(nfe, tuning, 0, images)
            trial = Trial(nfe, tuning, images, distance)
            if trial not in self._trials:
                self._trials.append(trial)
                self._table.add(trial)
            return distance

        found = await search(self._plan, evaluate)
        if self._arguments.plot is not None:
            plot(self._arguments.plot, self._trials, self._plan)
        plain = await self._held_out(nfe, PLAIN)
        best = plain if found.tuning.plain else await self._held_out(nfe, found.tuning)
        wins = best is not plain and beats(best, plain)
        print(
            f"{self._arguments.solver}, NFE {nfe}: rho {found.tuning}; on held-out seeds "
            f"{best.mean('fd'):.3f} against {plain.mean('fd'):.3f} at rho 1"
            + ("" if wins else ": no gain beyond chance, the preset is rho 1")
        )
        tuning = found.tuning if wins else PLAIN
        return Preset(self._arguments.name, nfe, self._arguments.solver, tuning)

    async def _held_out(self, nfe: int, tuning: Tuning) -> Cell:
        images = self._arguments.final_images
        runs = [
            {"fd": await self._distance(nfe, tuning, seed, images)}
            for seed in range(1, 1 + self._arguments.final_seeds)
        ]
        return Cell(Setting(self._arguments.solver, nfe, tuning), tuple(runs))

    async def _distance(self, nfe: int, tuning: Tuning, seed: int, images: int) -> float:
        setting = Setting(self._arguments.solver, nfe, tuning)
        what: list[Any] = [self._service.identity, self._target.key, str(setting)]
        what += [tuning.as_json(), seed, images]
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        known = self._memory.get(key)
        if known is None:
            run = await self._service.pictures(setting, seed, images)
            known = self._target.distance(run.pictures)
            self._memory.put(key, known, str(setting))
        return known
