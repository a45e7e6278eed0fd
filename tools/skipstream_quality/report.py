"""Tables and figures of a study's results, written into docs/quality.md between two marks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from skipstream_files import read_text, write

from skipstream_quality.errors import QualityError
from skipstream_quality.findings import findings
from skipstream_quality.parts import EXACT_ERROR, PIXEL_ERROR
from skipstream_quality.results import Cell, GroupResult, Results
from skipstream_quality.settings import Tuning
from skipstream_quality.svg import Panel, Series, draw

BEGIN = "<!-- Begin of what `tools/quality report` writes; changes here are lost. -->"
END = "<!-- End of what `tools/quality report` writes. -->"

_X_LABELS = {
    "rho": "rho of every skip",
    "window": "middle of the window, sigma",
    "guidance": "guidance scale",
    "s_churn": "S_churn",
}
# Range with which windows without an end are drawn: the usual noise levels.
_SIGMA_RANGE = (0.002, 80.0)

Row = Sequence[str]


def write_report(results: Results, document: Path, figures: Path) -> None:
    """Figures as files in `figures`, tables and their links between the marks of `document`."""
    text = read_text(document) if document.exists() else f"{BEGIN}\n{END}\n"
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise QualityError(f"{document} lacks the lines that say where the report goes: {BEGIN}")
    link = Path(os.path.relpath(figures, document.parent)).as_posix()
    figures.mkdir(parents=True, exist_ok=True)
    sections = [_measured(results), _summary(results), *findings(results)]
    for group in results.groups:
        sections.append(_group(results, group, figures, link))
    sections.append(_sheets(results, link))
    body = "\n\n".join(section for section in sections if section)
    write(document, f"{before}{BEGIN}\n\n{body}\n\n{END}{after}".encode())


def _measured(results: Results) -> str:
    model = results.model
    real = [
        [
            str(images),
            _pm(*results.floor_of(images, "fd")),
            _percent(results.floor_of(images, "head")[0]),
            _percent(results.floor_of(images, "every_part")[0]),
            f"{results.floor_of(images, 'entropy')[0]:.2f}",
        ]
        for images in sorted(results.floor)
    ]
    return (
        f"Model `{model['name']}`, {model['parameters']:,} parameters, weights "
        f"`{model['identity'][:16]}`; server {results.server_version or 'unknown'}, which computed "
        f"in {model['precision']};\nfeatures "
        f"`{results.encoder}`, reference of {results.reference_images:,} real pictures. What real\n"
        f"pictures score, mean ± standard deviation over {len(next(iter(results.floor.values())))} "
        "sets:\n\n"
        + _table(["pictures", "distance", "head", "every part exact", "entropy, bits"], real)
    )


def _summary(results: Results) -> str:
    rows = []
    for (solver, nfe), (plain, best) in sorted(results.evidence().items()):
        rows.append(
            [
                solver,
                str(nfe),
                _score(plain, "fd"),
                _score(best, "fd"),
                str(best.setting.tuning),
                "" if plain is None else f"{1 - best.mean('fd') / plain.mean('fd'):.0%}",
                _share(plain, "head"),
                _share(best, "head"),
                _share(plain, "exact"),
                _share(best, "exact"),
                _share(plain, "every_part"),
                _share(best, "every_part"),
            ]
        )
    header = ["solver", "NFE", "distance, rho 1", "best", "at rho", "less by"]
    header += ["head, rho 1", "best", "exact, rho 1", "best", "every part, rho 1", "best"]
    return "### Best of every solver and NFE\n\n" + _table(header, rows)


def _group(results: Results, group: GroupResult, figures: Path, link: str) -> str:
    text = f"### {group.title}\n\n"
    if group.text:
        text += f"{group.text.strip()}\n\n"
    seeds = f"{len(group.seeds)} seeds" if len(group.seeds) > 1 else "one seed"
    text += f"{group.images:,} pictures a setting, {seeds}.\n\n"
    for line in group.left_out:
        text += f"Left out: {line}.\n\n"
    if not group.cells:
        return text.strip()
    if group.x is None:
        return text + _full_table(group)
    x_of = _axis(group.x)
    placed = [(x, cell) for cell in group.cells if (x := x_of(cell)) is not None]
    if not placed:
        raise QualityError(f"group {group.id}: no setting has a place on the axis {group.x}")
    figure = figures / f"{group.id}.svg"
    write(figure, _figure(results, group, placed).encode())
    text += f"![{group.title}]({link}/{figure.name})\n\n"
    text += "Distance:\n\n" + _pivot(group, placed, "fd", _score)
    text += "\n\nEvery pixel together within the tolerance (exact):\n\n"
    text += _pivot(group, placed, "exact", _share)
    others = [cell for cell in group.cells if x_of(cell) is None]
    if others:
        text += "\n\n" + _full_table(group, others)
    return text


def _full_table(group: GroupResult, cells: Iterable[Cell] | None = None) -> str:
    cells = list(group.cells if cells is None else cells)
    guided = any(cell.setting.guidance != 1 for cell in cells)
    churned = any(cell.setting.s_churn for cell in cells)
    header = ["solver", "NFE", "rho"] + ["guidance"] * guided + ["S_churn"] * churned
    header += ["distance", "head", "exact", "every part", "pixels", "entropy"]
    rows = []
    for cell in cells:
        s = cell.setting
        row = [s.solver, str(s.nfe), str(s.tuning)]
        row += [f"{s.guidance:g}"] * guided + [f"{s.s_churn:g}"] * churned
        row += [_score(cell, "fd"), *(_share(cell, k) for k in ("head", "exact", "every_part"))]
        row += [_share(cell, "pixels"), f"{cell.mean('entropy'):.2f}"]
        rows.append(row)
    return _table(header, rows)


def _pivot(
    group: GroupResult,
    placed: Sequence[tuple[float, Cell]],
    score: str,
    shown: Callable[[Cell | None, str], str],
) -> str:
    """A row for each line of the figure, a column for each x; the best of a row is bold."""
    xs = sorted({x for x, _ in placed})
    lines: dict[tuple[str, str], dict[float, Cell]] = {}
    for x, cell in placed:
        lines.setdefault((cell.setting.solver, _line(group, cell)), {})[x] = cell
    rows = []
    for (solver, line), by_x in lines.items():
        least = min if score == "fd" else max
        best = least(cell.mean(score) for cell in by_x.values())
        row = [solver, line]
        for x in xs:
            found = by_x.get(x)
            text = shown(found, score)
            bold = found is not None and found.mean(score) == best
            row.append(f"**{text}**" if bold else text)
        rows.append(row)
    return _table(["solver", "", *(f"{x:.3g}" for x in xs)], rows)


def _figure(results: Results, group: GroupResult, placed: Sequence[tuple[float, Cell]]) -> str:
    solvers = list(dict.fromkeys(cell.setting.solver for _, cell in placed))
    level = results.floor_of(group.images, "fd")[0]
    label = _X_LABELS[group.x or "rho"]
    rows = []
    for score, y_label in (("fd", "Fréchet distance"), ("exact", "exact pictures")):
        row = []
        for solver in solvers:
            row.append(
                Panel(
                    title=solver,
                    x_label=label,
                    y_label=y_label,
                    series=_series(group, solver, placed, score),
                    log_x=group.x == "window",
                    log_y=score == "fd",
                    level=level if score == "fd" else None,
                    level_label="real pictures",
                )
            )
        rows.append(row)
    return draw(rows)


def _series(
    group: GroupResult, solver: str, placed: Sequence[tuple[float, Cell]], score: str
) -> list[Series]:
    lines: dict[str, list[tuple[float, Cell]]] = {}
    for x, cell in placed:
        if cell.setting.solver == solver:
            lines.setdefault(_line(group, cell), []).append((x, cell))
    series = []
    for label, places in lines.items():
        places.sort(key=lambda place: place[0])
        errors = [cell.spread(score) or 0.0 for _, cell in places] if len(group.seeds) > 1 else []
        series.append(Series(label, [(x, cell.mean(score)) for x, cell in places], errors))
    return series


def _line(group: GroupResult, cell: Cell) -> str:
    """Names the settings that distinguish a figure's lines: NFE, and others that vary but x."""
    s = cell.setting
    label = f"NFE {s.nfe}"
    settings = [other.setting for other in group.cells if not other.setting.tuning.plain]
    if group.x == "window":
        depths = {(t.tuning.bottom, t.tuning.top) for t in settings}
        label += f", rho {Tuning(s.tuning.bottom, s.tuning.top)}" if len(depths) > 1 else ""
    elif group.x != "rho" and len({t.tuning for t in settings} | {s.tuning}) > 1:
        label += f", rho {s.tuning}"
    if group.x != "guidance" and len({t.setting.guidance for t in group.cells}) > 1:
        label += f", guidance {s.guidance:g}"
    if group.x != "s_churn" and len({t.setting.s_churn for t in group.cells}) > 1:
        label += f", churn {s.s_churn:g}"
    return label


def _axis(axis: str) -> Callable[[Cell], float | None]:
    def place(cell: Cell) -> float | None:
        s = cell.setting
        match axis:
            case "rho":
                uniform = s.tuning.bottom == s.tuning.top and s.tuning.noise is None
                return s.tuning.bottom if uniform else None
            case "window":
                if s.tuning.noise is None or s.tuning.noise[0] != "window":
                    return None
                low, high = s.tuning.noise[1]
                return math.sqrt(max(low, _SIGMA_RANGE[0]) * min(high, _SIGMA_RANGE[1]))
            case "guidance":
                return s.guidance
            case _:
                return s.s_churn

    return place


def _sheets(results: Results, link: str) -> str:
    if not results.sheets:
        return ""
    text = "### The same seeds at rho 1 and at the best rho\n\nUpper row rho 1, lower row tuned.\n"
    for sheet in results.sheets:
        tuning = Tuning.from_json(sheet["tuning"])
        what = f"{sheet['solver']}, NFE {sheet['nfe']}: rho 1 above, rho {tuning} below"
        text += f"\n{what}:\n\n![{what}]({link}/{sheet['file']})\n"
    return text.strip()


def explain_scores() -> str:
    """One sentence for --help."""
    return (
        f"exact: mean error under {EXACT_ERROR:g} of 255 against the decoded combination; pixels: "
        f"within {PIXEL_ERROR} of 255 of it"
    )


def _score(cell: Cell | None, score: str) -> str:
    return "" if cell is None else _pm(cell.mean(score), cell.spread(score))


def _share(cell: Cell | None, score: str) -> str:
    return "" if cell is None else _percent(cell.mean(score))


def _pm(mean: float, sd: float | None) -> str:
    return f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(header: Row, rows: Iterable[Row]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
