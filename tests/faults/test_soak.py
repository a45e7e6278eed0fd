"""`./dev soak` in its short form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    soak = subprocess.run(
        [sys.executable, "-m", "soak", "--short", "--json"],
        env={"PYTHONPATH": f"{HERE}:{HERE.parent / 'e2e'}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert soak.returncode == 0, soak.stderr
    *_, last = soak.stdout.splitlines()
    return json.loads(last)


def test_aborted_requests_leave_no_trace(result: dict[str, Any]) -> None:
    assert result["requests"] >= 400
    assert result["aborted"] > result["requests"] / 3
    assert result["lost"] == 0
    assert result["wrong_images"] == 0
    assert result["leaked_slots"] == 0
