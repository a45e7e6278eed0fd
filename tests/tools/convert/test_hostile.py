"""Files made to hurt are refused, each with a message that says why, in little memory and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conversions import converted
from hostile import HOSTILE_FILES, good_edm
from skipstream_convert.errors import ConvertError

# Beyond the program's own: several times the largest of these files.
MEMORY_MIB = 96
SECONDS = 5.0


@pytest.mark.parametrize("name", [name for name in HOSTILE_FILES if name != "empty"])
def test_refused_with_a_reason(name: str) -> None:
    make, message = HOSTILE_FILES[name]
    with pytest.raises(ConvertError) as caught:
        converted(make(), preconditioning="EDMPrecond")
    error = str(caught.value)
    assert message.replace("\\\\", "\\") in error
    assert len(error) < 1000
    assert error.isprintable()


def test_in_bounded_memory_and_time(tmp_path: Path) -> None:
    for name, (make, _) in HOSTILE_FILES.items():
        (tmp_path / name).write_bytes(make())
    (tmp_path / "good-edm").write_bytes(good_edm())
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("limited.py"), str(MEMORY_MIB), tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    results = json.loads(result.stdout)
    assert results.keys() == {*HOSTILE_FILES, "good-edm"}
    assert results.pop("good-edm")[0] is None
    for name, (error, seconds) in results.items():
        assert error, name
        assert seconds < SECONDS, name


def test_nothing_ran() -> None:
    assert not Path("/tmp/owned").exists()
