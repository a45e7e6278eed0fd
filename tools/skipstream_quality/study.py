"""Runs a study through the service: every group of settings, then contact sheets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from skipstream_quality.measure import Measure
from skipstream_quality.progress import Progress
from skipstream_quality.results import Cell, GroupResult, Results, plain_and_best
from skipstream_quality.service import Service
from skipstream_quality.settings import Setting
from skipstream_quality.sheets import write_sheet
from skipstream_quality.study_file import Group, Sheets, Study

# Sets of real images that the floor is the mean of.
FLOOR_SEEDS = 5


async def run_study(
    study: Study,
    service: Service,
    measure: Measure,
    model: dict[str, Any],
    encoder: str,
    figures: Path,
    progress: Progress,
) -> Results:
    """Measures what is not measured yet. Sheets are written into `figures`."""
    results = Results(model, encoder, study.reference_images)
    for images in sorted({group.images for group in study.groups}):
        results.floor[images] = [
            await asyncio.to_thread(measure.of_real, images, seed) for seed in range(FLOOR_SEEDS)
        ]
    for group in study.groups:
        results.groups.append(await _run_group(group, results, service, measure, progress))
    results.server_version = service.server_version
    if study.sheets is not None:
        results.sheets = await _make_sheets(study.sheets, results, service, figures)
    return results


async def _run_group(
    group: Group, results: Results, service: Service, measure: Measure, progress: Progress
) -> GroupResult:
    settings = list(group.settings)
    if group.best_of:
        for (_, nfe), (plain, best) in plain_and_best(results.cells(group.best_of)).items():
            if group.best_of_nfe and nfe not in group.best_of_nfe:
                continue
            if plain is not None:
                settings.append(plain.setting)
            if best is not plain:
                settings.append(best.setting)
    result = GroupResult(
        group.id,
        group.title,
        group.text,
        group.x,
        group.images,
        list(group.seeds),
        list(group.best_of),
    )
    for setting in settings:
        if setting.guidance != 1.0 and not service.info.supports_guidance:
            reason = "the model was trained without label dropout and takes no guidance"
            result.left_out.append(f"{setting}: {reason}")
            progress.note(f"{group.id}: left out {setting}: {reason}")
            continue
        runs = []
        for seed in group.seeds:
            progress.begin(f"{group.id}: {setting}, seed {seed}")
            run = await service.pictures(setting, seed, group.images, progress.add)
            runs.append(await asyncio.to_thread(measure.of_run, run))
        cell = Cell(setting, tuple(runs))
        result.cells.append(cell)
        progress.note(
            f"{group.id}: {setting}: distance {cell.mean('fd'):.2f}, head {cell.mean('head'):.1%}, "
            f"exact {cell.mean('exact'):.1%}"
        )
    return result


async def _make_sheets(
    sheets: Sheets, results: Results, service: Service, figures: Path
) -> list[dict[str, Any]]:
    """The first images of seed 0, which every group with that seed has made already."""
    best = plain_and_best(results.cells(sheets.best_of))
    made = []
    for nfe in sheets.nfe:
        if (sheets.solver, nfe) not in best:
            continue
        tuned = best[sheets.solver, nfe][1].setting
        rows = [
            (await service.pictures(setting, 0, sheets.count)).pictures
            for setting in (Setting(sheets.solver, nfe), tuned)
        ]
        name = f"sheet-{sheets.solver}-{nfe}.png"
        write_sheet(figures / name, rows)
        made.append(
            {
                "file": name,
                "solver": sheets.solver,
                "nfe": nfe,
                "tuning": tuned.tuning.as_json(),
                "count": sheets.count,
            }
        )
    return made


def count_images(study: Study) -> int:
    """Number of images a study needs; of `best_of` groups, the most there may be."""
    total = 0
    for group in study.groups:
        settings = len(group.settings)
        if group.best_of:
            sources = [g for g in study.groups if g.id in group.best_of]
            pairs = {(s.solver, s.nfe) for g in sources for s in g.settings}
            if group.best_of_nfe:
                pairs = {pair for pair in pairs if pair[1] in group.best_of_nfe}
            settings = 2 * len(pairs)
        total += settings * group.images * len(group.seeds)
    return total
