"""The server's flags, by what --help says of them."""

from __future__ import annotations

import re
import subprocess

import pytest
from harness import PATIENCE, binary


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary("skipstream-server"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def number_flags() -> list[str]:
    return re.findall(r"--(\w+) FLOAT", run("--help").stdout)


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_what_is_not_a_number_in_the_range_is_refused_by_name(value: str) -> None:
    flags = number_flags()
    assert {"drain_timeout", "write_timeout", "reload_interval"} <= set(flags)
    for flag in flags:
        # If it were taken, the server would end at the next flag.
        refused = run(f"--{flag}={value}", "--log_level=none")
        assert refused.returncode == 2, flag
        assert f"--{flag}" in refused.stderr, refused.stderr
        assert "must be a number from" in refused.stderr, refused.stderr
