"""The fuzz targets keep their promises for what libFuzzer starts from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SKIPSTREAM_BUILD_DIR", "build/release")


@pytest.mark.parametrize("target", ["request", "safetensors", "image"])
def test_the_seeds_break_no_promise(tmp_path: Path, target: str) -> None:
    subprocess.run([sys.executable, ROOT / "tests/fuzz/seeds.py", tmp_path], check=True)
    files = sorted((tmp_path / target).iterdir())
    assert len(files) >= 6
    result = subprocess.run(
        [BUILD / "bin" / f"fuzz_{target}", *files], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(files)} files\n"
