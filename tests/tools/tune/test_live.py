"""Tests of the output of a search."""

import io
from pathlib import Path
from xml.etree import ElementTree

from skipstream_quality.settings import PLAIN, Tuning
from skipstream_tune.live import LiveTable, Trial, plot
from skipstream_tune.memory import Memory
from skipstream_tune.search import Plan, profiles


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_shows_the_best_of_the_most_pictures_first() -> None:
    out = Terminal()
    table = LiveTable("heun", out)
    table.add(Trial(9, PLAIN, 64, 50.0))
    table.add(Trial(9, Tuning(0.9, 0.9), 64, 40.0))
    table.add(Trial(9, Tuning(0.9, 0.9), 128, 45.0))
    rows = [line.split()[:3] for line in table.lines()[2:]]
    assert rows == [["45.000", "128", "0.9"], ["40.000", "64", "0.9"], ["50.000", "64", "1"]]
    # Drawn over, not below: 4 lines up before the last one.
    assert out.getvalue().count("\x1b[4A") == 1
    table.add(Trial(19, PLAIN, 64, 20.0))
    assert len(table.lines()) == 3


def test_a_log_gets_a_line_per_trial() -> None:
    out = io.StringIO()
    LiveTable("heun", out).add(Trial(9, Tuning(0.9, 1.0), 64, 40.0))
    assert out.getvalue() == "heun NFE 9, 64 pictures, rho 0.9 to 1: distance 40.000\n"


def test_the_plot_has_a_line_per_profile_through_rho_1(tmp_path: Path) -> None:
    plan = Plan(rho=(0.9, 1.1))
    trials = [Trial(9, PLAIN, plan.coarse_images, 50.0)]
    for rho in plan.rho:
        for tuning in profiles(plan.sigma_split, rho).values():
            trials.append(Trial(9, tuning, plan.coarse_images, 40.0 * rho))
    trials.append(Trial(9, Tuning(0.8, 0.8), plan.refine_images, 1.0))  # not on the grid
    plot(tmp_path / "tune.svg", trials, plan)
    svg = ElementTree.fromstring((tmp_path / "tune.svg").read_text())
    lines = list(svg.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 7
    assert all(len(line.attrib["points"].split()) == 3 for line in lines)


def test_distances_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "tune.jsonl"
    memory = Memory(file)
    memory.put("a", 1.5, "first")
    memory.put("b", 2.5, "second")
    file.write_text(file.read_text()[:-10])
    again = Memory(file)
    assert (again.get("a"), again.get("b")) == (1.5, None)
    again.put("c", 3.5, "third")
    assert Memory(file).get("c") == 3.5
