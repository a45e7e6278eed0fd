"""The command tools/quality."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from skipstream_files import say

from skipstream_quality.encoders import PARTS_FILE, PartsEncoder
from skipstream_quality.files import write_json
from skipstream_quality.measure import Measure
from skipstream_quality.options import DEFAULT_MODEL, add_service_options, open_service, run
from skipstream_quality.presets import (
    merged,
    presets_from_results,
    presets_json,
    read_presets,
    write_into_model,
)
from skipstream_quality.progress import Progress
from skipstream_quality.report import explain_scores, write_report
from skipstream_quality.results import Results
from skipstream_quality.server import ROOT
from skipstream_quality.service import Service
from skipstream_quality.settings import Setting, Tuning
from skipstream_quality.study import count_images, run_study
from skipstream_quality.study_file import load_study

DOCUMENT = ROOT / "docs" / "quality.md"
FIGURES = ROOT / "docs" / "quality"
RESULTS = FIGURES / "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 for an error, 2 for a wrong command line, 130 if stopped."""
    parsed = _parser().parse_args(arguments)
    status: int = parsed.command(parsed)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/quality", description="Measures what a model of the parts makes."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    study = commands.add_parser("study", help="run a study and write docs/quality.md")
    study.add_argument("file", type=Path, help="TOML; see tools/skipstream_quality/study_file.py")
    _add_report_options(study)
    add_service_options(study)
    study.set_defaults(command=_study)

    report = commands.add_parser("report", help="write the document anew from results")
    _add_report_options(report)
    report.set_defaults(command=_report)

    measure = commands.add_parser("measure", help="scores of one setting", epilog=explain_scores())
    measure.add_argument("--solver", default="heun")
    measure.add_argument("--nfe", type=int, default=9)
    measure.add_argument(
        "--tuning",
        type=json.loads,
        default={},
        metavar="JSON",
        help='as in a preset: \'{"rho": 1.05, "noise": {"window": [5, 80]}}\'',
    )
    measure.add_argument("--guidance", type=float, default=1.0)
    measure.add_argument("--s-churn", type=float, default=0.0)
    measure.add_argument("--images", type=int, default=1000)
    measure.add_argument("--seed", type=int, default=0, help="of the run")
    measure.add_argument("--reference-images", type=int, default=20000)
    add_service_options(measure)
    measure.set_defaults(command=_measure)

    presets = commands.add_parser("presets", help="write presets into a model file")
    source = presets.add_mutually_exclusive_group()
    source.add_argument("--results", type=Path, default=RESULTS, help="of a study")
    source.add_argument("--presets", type=Path, help="a preset file, as tools/tune writes it")
    presets.add_argument("--name", default="default", help="of the presets made from results")
    presets.add_argument("--model-file", type=Path, default=DEFAULT_MODEL)
    presets.add_argument("--output", type=Path, help="default: the model file itself")
    presets.add_argument("--keep", type=Path, metavar="FILE", help="presets to keep beside them")
    presets.add_argument("--dry-run", action="store_true", help="only print them")
    presets.set_defaults(command=_presets)

    train = commands.add_parser("train-encoder", help="train the parts classifier (PyTorch)")
    train.add_argument("--output", type=Path, default=PARTS_FILE)
    train.add_argument("--steps", type=int, default=3000)
    train.add_argument("--batch", type=int, default=128)
    train.add_argument("--seed", type=int, default=1)
    train.set_defaults(command=_train_encoder)
    return parser


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=RESULTS, help="docs/quality/results.json")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="docs/quality.md")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="docs/quality")


def _make_measure(service: Service, reference_images: int, cache: Path) -> tuple[Measure, str]:
    encoder = PartsEncoder.load()
    return Measure(service.info.class_names, encoder, reference_images, cache), encoder.name


def _study(arguments: argparse.Namespace) -> int:
    async def work() -> int:
        study = load_study(arguments.file)
        async with open_service(arguments) as service:
            measure, encoder = _make_measure(service, study.reference_images, arguments.cache)
            progress = Progress(count_images(study))
            model = {
                "name": service.info.name,
                "identity": service.identity,
                "precision": service.info.precision,
                "parameters": service.info.parameter_count,
                "skips": service.info.num_skips,
            }
            try:
                results = await run_study(
                    study, service, measure, model, encoder, arguments.figures, progress
                )
            finally:
                progress.close()
        write_json(arguments.results, results.as_json())
        write_report(results, arguments.document, arguments.figures)
        say(f"wrote {arguments.results} and {arguments.document}")
        return 0

    return run(work)


def _report(arguments: argparse.Namespace) -> int:
    async def work() -> int:
        write_report(Results.load(arguments.results), arguments.document, arguments.figures)
        return 0

    return run(work)


def _measure(arguments: argparse.Namespace) -> int:
    async def work() -> int:
        setting = Setting(
            arguments.solver,
            arguments.nfe,
            Tuning.from_json(arguments.tuning),
            arguments.guidance,
            arguments.s_churn,
        )
        async with open_service(arguments) as service:
            measure, _ = _make_measure(service, arguments.reference_images, arguments.cache)
            progress = Progress(arguments.images)
            progress.begin(str(setting))
            try:
                made = await service.pictures(
                    setting, arguments.seed, arguments.images, progress.add
                )
            finally:
                progress.close()
            scores = {
                "setting": str(setting),
                "scores": measure.of_run(made),
                "real pictures": measure.of_real(arguments.images, 0),
            }
        print(json.dumps(scores, indent=1))
        return 0

    return run(work)


def _presets(arguments: argparse.Namespace) -> int:
    async def work() -> int:
        if arguments.presets is not None:
            presets, notes = read_presets(arguments.presets), list[str]()
        else:
            presets, notes = presets_from_results(Results.load(arguments.results), arguments.name)
        for note in notes:
            say(note, errors=True)
        if arguments.keep is not None:
            presets = merged(read_presets(arguments.keep), presets)
        print(json.dumps(presets_json(presets), indent=1))
        if not arguments.dry_run:
            output = arguments.output or arguments.model_file
            write_into_model(arguments.model_file, presets, output)
            say(f"wrote {len(presets)} presets into {output}", errors=True)
        return 0

    return run(work)


def _train_encoder(arguments: argparse.Namespace) -> int:
    try:
        from skipstream_quality.train_encoder import train
    except ImportError as error:
        print(f"error: training needs PyTorch in PYTHONPATH: {error}", file=sys.stderr)
        return 1
    train(
        arguments.output,
        steps=arguments.steps,
        batch=arguments.batch,
        seed=arguments.seed,
        report=lambda line: print(line, flush=True),
    )
    return 0
