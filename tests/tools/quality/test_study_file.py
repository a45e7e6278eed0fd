"""Study files: what they may say and how mistakes are answered."""

import tomllib
from pathlib import Path

import pytest
from skipstream_quality.errors import QualityError
from skipstream_quality.settings import Setting, Tuning
from skipstream_quality.study import count_images
from skipstream_quality.study_file import load_study, parse_study


def test_a_group_is_every_combination_of_its_lists_each_once() -> None:
    study = parse_study(
        tomllib.loads("""
            images = 64
            [[group]]
            id = "a"
            solver = ["heun", "unipc"]
            nfe = [5, 9]
            depth = [[0.9, 1.0], [1.0, 1.0]]
            noise = [{window = [0.3, 5]}, {knots = [[0.3, 1], [5, -1]]}]
            guidance = [1.0, 2.0]
            s_churn = [0, 10]
        """)
    )
    settings = study.groups[0].settings
    assert len(settings) == 2 * 2 * 4 * 2 * 2 == len(set(settings))
    tuned = Tuning(0.9, 1.0, ("knots", ((0.3, 1.0), (5.0, -1.0))))
    assert Setting("unipc", 9, tuned, 2.0, 10.0) in settings
    assert count_images(study) == 64 * len(settings)


def test_defaults_hold_for_every_group_unless_it_says_otherwise() -> None:
    study = parse_study(
        tomllib.loads("""
            images = 100
            seeds = [3]
            [[group]]
            id = "a"
            [[group]]
            id = "b"
            best_of = ["a"]
            nfe = [9]
            images = 500
            seeds = [1, 2]
        """)
    )
    a, b = study.groups
    assert (a.images, a.seeds, a.settings) == (100, (3,), (Setting("heun", 9),))
    assert (b.images, b.seeds, b.best_of, b.best_of_nfe) == (500, (1, 2), ("a",), (9,))
    assert study.reference_images == 20000
    assert count_images(study) == 100 + 2 * 500 * 2


GROUP = '[[group]]\nid = "a"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one"),
        ("imagse = 5\n" + GROUP, "no field 'imagse'"),
        (GROUP + "nef = [5]", "no field 'nef'"),
        (GROUP + "nfe = 5", "nfe must be a list"),
        (GROUP + "nfe = [0]", "nfe must be a whole number of 1"),
        (GROUP + "rho = [2.5]", "rho must be from 0 to 2"),
        (GROUP + "rho = [1.0]\ndepth = [[1.0, 1.0]]", "rho or depth"),
        (GROUP + "noise = [{windw = [1, 2]}]", "windw"),
        (GROUP + "noise = [{window = [5, 2]}]", "sigma_hi"),
        (GROUP + "noise = [{knots = [[2, 0.5], [1, 0.5]]}]", "from 2"),
        (GROUP + "noise = [{knots = [[2, 1.5]]}]", "from -1 to 1"),
        (GROUP + 'noise = [{ramp = "up"}]', "strongest_at_high_sigma"),
        (GROUP + GROUP, "taken"),
        (GROUP + 'best_of = ["b"]', "no earlier group"),
        (GROUP + '[[group]]\nid = "b"\nbest_of = ["a"]\nrho = [1.0]', "other groups"),
        (GROUP + '[[group]]\nid = "b"\nbest_of = ["a"]\nnfe = [0]', "nfe must be a whole number"),
        (
            f'{GROUP}[[group]]\nid = "b"\nimages = 7\n[[group]]\nid = "c"\nbest_of = ["a", "b"]',
            "same images",
        ),
        (GROUP + 'x = "sigma"', "x must be one of"),
        (GROUP + "seeds = [1, 1]", "differ"),
        ('[[group]]\nid = "A b"', "lower-case"),
        (GROUP + '[sheets]\nbest_of = ["z"]', "no earlier group"),
    ],
)
def test_names_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(QualityError, match=message):
        parse_study(tomllib.loads(text))


def test_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    for text in ("images = ", "images = 1"):
        file.write_text(text)
        with pytest.raises(QualityError, match=r"study\.toml"):
            load_study(file)


def test_the_studies_of_the_document_are_valid() -> None:
    files = sorted(
        (Path(__file__).resolve().parents[3] / "tools/skipstream_quality").glob("*.toml")
    )
    assert files
    for file in files:
        assert load_study(file).groups
