"""Answers to the questions of skip-tuning's paper (arXiv 2402.15170), computed from results."""

from __future__ import annotations

import itertools
import math

from skipstream_quality.results import GroupResult, Results, beats

# A step up or down by less than this share is taken for noise when the shape of a curve is judged.
_NOISE = 0.03


def findings(results: Results) -> list[str]:
    """Sections in Markdown: the shape of the curves over rho, and evaluations saved."""
    return [text for text in (_shapes(results), _savings(results)) if text]


def _shapes(results: Results) -> str:
    lines = []
    for group in results.groups:
        if group.x != "rho":
            continue
        for (solver, nfe), curve in _curves(group).items():
            if len(curve) < 3:
                continue
            best = min(curve, key=lambda point: point[1])[0]
            lines.append(f"- {solver}, NFE {nfe}: {shape(curve)}; least at rho {best:g}.")
    if not lines:
        return ""
    return "### Distance against rho\n\n" + "\n".join(lines)


def _curves(group: GroupResult) -> dict[tuple[str, int], list[tuple[float, float]]]:
    curves: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for cell in group.cells:
        s = cell.setting
        if s.tuning.bottom == s.tuning.top and s.tuning.noise is None and s.guidance == 1.0:
            curves.setdefault((s.solver, s.nfe), []).append((s.tuning.bottom, cell.mean("fd")))
    return {key: sorted(curve) for key, curve in curves.items()}


def shape(curve: list[tuple[float, float]]) -> str:
    """Describes the shape of a curve of three or more points, sorted."""
    values = [value for _, value in curve]
    best = values.index(min(values))
    falls = all(b <= a * (1 + _NOISE) for a, b in itertools.pairwise(values[: best + 1]))
    rises = all(b >= a * (1 - _NOISE) for a, b in itertools.pairwise(values[best:]))
    if not (falls and rises):
        return "more than one dip"
    if best == 0:
        return "rising over the whole range: the optimum is at or below its lower end"
    if best == len(values) - 1:
        return "falling over the whole range: the optimum is at or above its upper end"
    return "U-shaped"


def _savings(results: Results) -> str:
    """At which NFE the plain network is as good as the tuned one at a smaller NFE."""
    evidence = results.evidence()
    lines = []
    for solver in sorted({solver for solver, _ in evidence}):
        by_nfe = {nfe: pair for (name, nfe), pair in evidence.items() if name == solver}
        plain = sorted(
            (nfe, cell.mean("fd")) for nfe, (cell, _) in by_nfe.items() if cell is not None
        )
        for nfe, (cell, best) in sorted(by_nfe.items()):
            if cell is not None and not beats(best, cell):
                lines.append(f"- {solver}, NFE {nfe}: nothing saved beyond chance.")
                continue
            needed = evaluations_for(plain, best.mean("fd"))
            if needed is None:
                # At the largest NFE there is nothing beyond to compare with.
                if plain and nfe < plain[-1][0]:
                    lines.append(
                        f"- {solver}, NFE {nfe} tuned: better than rho 1 at every NFE measured "
                        f"(up to {plain[-1][0]})."
                    )
            elif needed > nfe:
                lines.append(
                    f"- {solver}, NFE {nfe} tuned is as good as rho 1 at NFE {needed:.1f} "
                    f"(interpolated): {1 - nfe / needed:.0%} of the evaluations saved."
                )
            else:
                lines.append(f"- {solver}, NFE {nfe}: nothing saved.")
    if not lines:
        return ""
    return "### Evaluations saved at equal distance\n\n" + "\n".join(lines)


def evaluations_for(plain: list[tuple[int, float]], distance: float) -> float | None:
    """The NFE at which the curve of rho 1 (sorted by NFE) first falls to `distance`; None if never.

    Interpolated between the measured ones, logarithmically on both axes.
    """
    if plain and plain[0][1] <= distance:
        return float(plain[0][0])
    for (n0, d0), (n1, d1) in itertools.pairwise(plain):
        if d1 <= distance < d0:
            share = math.log(d0 / distance) / math.log(d0 / d1)
            return math.exp(math.log(n0) + share * math.log(n1 / n0))
    return None
