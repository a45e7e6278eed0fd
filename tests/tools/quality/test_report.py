"""Tables, figures and findings of a study."""

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from skipstream_quality.errors import QualityError
from skipstream_quality.findings import evaluations_for, shape
from skipstream_quality.report import BEGIN, END, write_report
from skipstream_quality.results import Cell, GroupResult, Results
from skipstream_quality.settings import Setting, Tuning

SCORES = {"head": 0.9, "exact": 0.5, "every_part": 0.4, "pixels": 0.8, "entropy": 12.0}


def run(fd: float) -> dict[str, float]:
    return {"fd": fd, **SCORES}


@pytest.fixture
def results() -> Results:
    """NFE 5 and 9, best at rho 0.9, where NFE 5 is as good as rho 1 at about NFE 8."""
    distances = {(5, 0.8): 60.0, (5, 0.9): 45.0, (5, 1.0): 70.0, (5, 1.1): 90.0}
    distances |= {(9, 0.8): 50.0, (9, 0.9): 30.0, (9, 1.0): 40.0, (9, 1.1): 42.0}
    cells = [
        Cell(Setting("unipc", nfe, Tuning(rho, rho)), (run(fd),))
        for (nfe, rho), fd in distances.items()
    ]
    return Results(
        {
            "name": "nouns32",
            "parameters": 3956291,
            "identity": "ab" * 32,
            "precision": "bfloat16",
            "skips": 9,
        },
        "parts-0123",
        20000,
        "1.2.3",
        {1000: [run(19.0), run(21.0)]},
        [GroupResult("rho", "One rho", "Some prose.", "rho", 1000, [0], [], cells)],
    )


def test_the_report_replaces_itself_and_nothing_else(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "docs" / "quality.md"
    document.parent.mkdir()
    document.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nMine too\n")
    write_report(results, document, tmp_path / "docs" / "quality")
    first = document.read_text()
    assert first.startswith(f"# Mine\n\n{BEGIN}\n")
    assert first.endswith(f"{END}\n\nMine too\n")
    assert "old" not in first
    figure = (tmp_path / "docs/quality/rho.svg").read_text()
    write_report(results, document, tmp_path / "docs" / "quality")
    assert document.read_text() == first
    assert (tmp_path / "docs/quality/rho.svg").read_text() == figure


def test_tables_show_distances_the_best_in_bold_and_the_floor(
    results: Results, tmp_path: Path
) -> None:
    document = tmp_path / "quality.md"
    write_report(results, document, tmp_path / "figures")
    text = document.read_text()
    assert "| unipc | NFE 5 | 60.0 | **45.0** | 70.0 | 90.0 |" in text
    assert "| unipc | NFE 9 | 50.0 | **30.0** | 40.0 | 42.0 |" in text
    assert "| 1000 | 20.0 ± 1.4 |" in text
    assert "| unipc | 9 | 40.0 | 30.0 | 0.9 | 25% |" in text
    assert "![One rho](figures/rho.svg)" in text
    assert "unipc, NFE 5: U-shaped; least at rho 0.9." in text
    assert "unipc, NFE 5 tuned is as good as rho 1 at NFE 8.0 (interpolated)" in text


def test_a_gain_within_chance_saves_nothing(results: Results, tmp_path: Path) -> None:
    group = results.groups[0]
    group.cells.append(Cell(Setting("heun", 9, Tuning()), (run(40.0),)))
    group.cells.append(Cell(Setting("heun", 9, Tuning(0.9, 0.9)), (run(39.0),)))
    group.cells.append(Cell(Setting("heun", 19, Tuning()), (run(20.0),)))
    document = tmp_path / "quality.md"
    write_report(results, document, tmp_path)
    assert "heun, NFE 9: nothing saved beyond chance." in document.read_text()


def test_figures_draw_every_series_through_its_points(results: Results, tmp_path: Path) -> None:
    write_report(results, tmp_path / "quality.md", tmp_path)
    svg = ElementTree.fromstring((tmp_path / "rho.svg").read_text())
    namespace = "{http://www.w3.org/2000/svg}"
    lines = [e.attrib["points"].split() for e in svg.iter(f"{namespace}polyline")]
    assert [len(points) for points in lines] == [4, 4, 4, 4]  # two NFE, two panels
    texts = ["".join(e.itertext()) for e in svg.iter(f"{namespace}text")]
    assert {"NFE 5", "NFE 9", "real pictures", "Fréchet distance"} <= set(texts)
    # The line for NFE 5 falls to rho 0.9 and rises again; SVG counts downwards.
    heights = [float(point.split(",")[1]) for point in lines[0]]
    assert heights[1] == max(heights)
    assert all(a >= b for a, b in itertools.pairwise(heights[1:]))


def test_results_are_read_back_as_they_were_written(results: Results, tmp_path: Path) -> None:
    from skipstream_quality.files import write_json

    file = tmp_path / "results.json"
    write_json(file, results.as_json())
    assert Results.load(file) == results
    file.write_text('{"groups": 3}')
    with pytest.raises(QualityError, match="no results"):
        Results.load(file)


def test_a_document_without_the_marks_is_left_alone(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "quality.md"
    document.write_text("# Mine\n")
    with pytest.raises(QualityError, match="lacks the lines"):
        write_report(results, document, tmp_path)
    assert document.read_text() == "# Mine\n"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([9, 5, 4, 6], "U-shaped"),
        ([4, 5, 6, 7], "at or below its lower end"),
        ([7, 6, 5, 4], "at or above its upper end"),
        ([5, 9, 4, 6], "more than one dip"),
        ([5, 4.05, 4.1, 4, 6], "U-shaped"),  # wiggles below the noise
    ],
)
def test_the_shape_of_a_curve_in_words(values: list[float], words: str) -> None:
    assert words in shape(list(enumerate(values)))


def test_evaluations_for_a_distance_lie_between_those_measured() -> None:
    plain = [(5, 100.0), (10, 50.0), (20, 25.0)]
    assert evaluations_for(plain, 50.0) == pytest.approx(10)
    assert evaluations_for(plain, 50.0 / 2**0.5) == pytest.approx(10 * 2**0.5)
    assert evaluations_for(plain, 120.0) == 5
    assert evaluations_for(plain, 20.0) is None
