"""`./dev soak` in its short form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from soak.attacks import ATTACKS


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    soak = subprocess.run(
        [sys.executable, "-m", "soak", "--short", "--json"],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert soak.returncode == 0, soak.stderr
    *_, last = soak.stdout.splitlines()
    return json.loads(last)


def test_nothing_is_lost_whatever_is_done_to_the_server(result: dict[str, Any]) -> None:
    assert result["lost"] == 0
    assert result["wrong_images"] == 0
    assert result["leaked_slots"] == 0
    assert result["restarts"] >= 2


def test_aborted_requests_leave_no_trace(result: dict[str, Any]) -> None:
    assert result["requests"] >= 400
    assert result["aborted"] > 100
    assert result["rss_growth_percent"] < 15
    assert result["p99_ratio"] > 0


def test_attacks_do_not_keep_others_from_being_served(result: dict[str, Any]) -> None:
    every = " + ".join(result["hostile"])
    for attack in ATTACKS:
        assert attack in every
    assert all(attacked["done"] > 100 for attacked in result["hostile"].values())
    assert result["invalid_requests"] >= 2000
    assert result["hostile_p99_ratio"] > 0


def test_idle_connections_cost_next_to_nothing(result: dict[str, Any]) -> None:
    idle = result["idle_connections"]
    assert idle["connections"] == 1000
    assert idle["cores"] < 0.05
    assert idle["kib_each"] < 100


def test_a_flood_of_one_tenant_is_not_anothers(result: dict[str, Any]) -> None:
    assert 0 < result["tenant_median_ratio"] < 3


def test_far_too_much_load_leaves_the_device_at_work(result: dict[str, Any]) -> None:
    assert result["offered_ratio"] > 2
    assert result["goodput_ratio"] > 0.2
    assert result["late_percent"] < 40
