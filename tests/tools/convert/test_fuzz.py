"""Whatever the bytes of a checkpoint are, converting it gives tensors or an error that says why.

SKIPSTREAM_FUZZ_SECONDS: how long (default 10); SKIPSTREAM_FUZZ_SEED: where it begins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("SKIPSTREAM_FUZZ_SECONDS", "10"))
SEED = os.environ.get("SKIPSTREAM_FUZZ_SEED", "20240601")


@pytest.mark.timeout(SECONDS + 300)
def test_mutations_and_random_programs(tmp_path: Path) -> None:
    failure = tmp_path / "fuzz-failure.bin"
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("fuzz.py"), str(SECONDS), SEED, failure],
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        timeout=SECONDS + 240,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    counts = json.loads(result.stdout)
    print(counts)
    # Changes to weights go through, most others do not; every kind was tried.
    assert sum(n for kind, n in counts.items() if kind.endswith(" converted")) > 0
    for kind in ("edm", "zip", "zip-pickle", "legacy", "program", "repetition"):
        assert counts.get(f"{kind} refused", 0) > 0, counts
