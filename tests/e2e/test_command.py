"""The skipstream command against the real server."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skipstream
from harness import PATIENCE, Cli, Server, binary, pixels, wait_until
from PIL import Image

SMALL = ("--nfe", "3", "--seed", "7", "--class", "cat")


def ok(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert result.returncode == 0, result.stderr
    return result


def test_generate_writes_the_image(
    exact_server: Server, exact_client: skipstream.Client, cli: Cli, tmp_path: Path
) -> None:
    ok(cli("generate", *SMALL, "--out", "cat.png", "--server", exact_server.target))
    (expected,) = exact_client.generate(nfe=3, seeds=7, classes="cat")
    assert (tmp_path / "cat.png").read_bytes() == expected.data


def test_generate_to_standard_output(exact_server: Server, exact_client: skipstream.Client) -> None:
    result = subprocess.run(
        [
            binary("skipstream"),
            "generate",
            *SMALL,
            "--out",
            "-",
            "--server",
            exact_server.target,
        ],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert result.stdout == exact_client.generate(nfe=3, seeds=7, classes="cat")[0].data
    assert result.stderr == b"", "quiet in a pipe"


def test_a_pattern_names_every_image(server: Server, cli: Cli, tmp_path: Path) -> None:
    ok(
        cli(
            "generate",
            *("--nfe", "1", "--seed", "7-9", "--class", "cat"),
            *("--out", "{class}-{seed}.png", "--server", server.target),
        )
    )
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["cat-7.png", "cat-8.png", "cat-9.png"]


def test_a_sweep_makes_a_labelled_sheet_and_its_images(
    exact_server: Server, exact_client: skipstream.Client, cli: Cli, tmp_path: Path
) -> None:
    ok(
        cli(
            "generate",
            *("--nfe", "1,3", "--rho", "0.9,1.0", "--class", "cat,dog", "--seed", "7"),
            *("--grid", "sheet.png", "--out", "{nfe}-{rho}-{class}.png"),
            *("--server", exact_server.target),
        )
    )
    with Image.open(tmp_path / "sheet.png") as sheet:
        # Four rows of two images, with room for the labels.
        assert sheet.width > 2 * 32
        assert sheet.height > 4 * 32
    assert len(list(tmp_path.glob("*-*-*.png"))) == 8
    (expected,) = exact_client.generate(nfe=3, rho=0.9, classes="dog", seeds=7)
    with Image.open(tmp_path / "3-0.9-dog.png") as image:
        assert np.array_equal(np.asarray(image, dtype=np.int16), pixels(expected))


def test_json_summary(server: Server, cli: Cli) -> None:
    result = ok(cli("generate", *SMALL, "--json", "--out", "x.png", "--server", server.target))
    summary = json.loads(result.stdout)
    assert isinstance(summary, dict)
    (image,) = summary["images"]
    assert image["seed"] == 7
    assert image["class"] == "cat"


def test_models_and_health(server: Server, cli: Cli) -> None:
    assert "nouns32" in ok(cli("models", "--server", server.target)).stdout
    ok(cli("health", "--server", server.target))


def test_health_of_nobody_fails(cli: Cli) -> None:
    result = cli("health", "--server", "127.0.0.1:1")
    assert result.returncode == 1
    assert "127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--nfe", "10"), "9 or 11"),
        (("--class", "unicat"), "class"),
        (("--rho", "7"), "rho"),
    ],
)
def test_a_bad_request_is_explained(
    server: Server, cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    result = cli("generate", *arguments, "--out", "x.png", "--server", server.target)
    assert result.returncode in (1, 2)
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_cancels_on_the_server(server: Server, tmp_path: Path) -> None:
    server.wait_idle()
    cancelled = server.metrics().value("cancelled_total")
    process = subprocess.Popen(
        [
            binary("skipstream"),
            "generate",
            *("--solver", "euler", "--nfe", "1000", "--count", "8", "--seed", "1"),
            *("--out", "{index}.png", "--server", server.target),
        ],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: server.metrics().value("running_samples") > 0, "the request runs")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.communicate()
    server.wait_idle()
    assert server.metrics().value("cancelled_total") == cancelled + 1
    assert list(tmp_path.glob("*.png")) == []
