"""deploy/ holds what runs: its queries name metrics and labels that the real server exposes, and
its files agree with each other and with the server's flags."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana/dashboards/skipstream.json"
ALERTS = DEPLOY / "prometheus/alerts.yml"
BIN = ROOT / os.environ.get("SKIPSTREAM_BUILD_DIR", "build/release") / "bin"

# Grafana fills these in before Prometheus sees a query.
VARIABLES = {"$__rate_interval": "1m", "$__range": "30m", "$instance": ".*"}
# Labels that Prometheus adds to every sample that it scrapes.
SCRAPE_LABELS = {"instance", "job"}
SCRAPE_METRICS = {"up"}


def panels() -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return result


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> dict[str, str]:
    """Every query of the dashboard and the alerts, by where it stands."""
    found = {
        f"panel {panel['title']}, {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    found.update({f"alert {rule['alert']}": rule["expr"] for rule in alerts()})
    return found


def parse(query: str) -> Any:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return promql_parser.parse(query)


def walk(node: Any) -> Iterator[Any]:
    yield node
    if isinstance(node, promql_parser.Call):
        children = list(node.args)
    elif isinstance(node, promql_parser.BinaryExpr):
        children = [node.lhs, node.rhs]
    elif isinstance(node, promql_parser.MatrixSelector):
        children = [node.vector_selector]
    elif isinstance(node, promql_parser.AggregateExpr | promql_parser.ParenExpr):
        children = [node.expr]
    else:
        children = []
    for child in children:
        yield from walk(child)


def selectors(query: str) -> list[Any]:
    return [n for n in walk(parse(query)) if isinstance(n, promql_parser.VectorSelector)]


def labels_used(query: str) -> set[str]:
    grouped = {
        label
        for node in walk(parse(query))
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
        for label in node.modifier.labels
    }
    matched = {m.name for selector in selectors(query) for m in selector.matchers.matchers}
    return grouped | matched


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Sample names that a server exposes after one image, with the labels of each."""
    command = [
        str(BIN / "skipstream-server"),
        "--listen=127.0.0.1:0",
        "--metrics_listen=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().removeprefix("listening on ").strip()
            metrics_url = server.stdout.readline().removeprefix("metrics on ").strip()
            subprocess.run(
                [BIN / "skipstream", "generate", f"--server={address}", "--nfe=3", "--out=-"],
                stdout=subprocess.DEVNULL,
                timeout=60,
                check=True,
            )
            with urllib.request.urlopen(metrics_url, timeout=10) as response:
                text = response.read().decode()
        finally:
            server.terminate()
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    return names


@pytest.mark.parametrize(("place", "query"), queries().items(), ids=list(queries()))
def test_every_query_finds_its_metrics(
    exposed: dict[str, set[str]], place: str, query: str
) -> None:
    names = {selector.name for selector in selectors(query)}
    assert names, f"{place} names no metric"
    assert names <= exposed.keys() | SCRAPE_METRICS


@pytest.mark.parametrize(("place", "query"), queries().items(), ids=list(queries()))
def test_every_query_uses_labels_that_its_metrics_have(
    exposed: dict[str, set[str]], place: str, query: str
) -> None:
    known = SCRAPE_LABELS.union(*(exposed.get(s.name, set()) for s in selectors(query)))
    assert labels_used(query) <= known, place


def test_the_dashboard_shows_every_family_that_the_server_exposes(
    exposed: dict[str, set[str]],
) -> None:
    shown = {s.name for query in queries().values() for s in selectors(query)}
    shown_families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    own = {name for name in exposed if name.startswith("skipstream_")}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in own} == {
        name for name in shown_families if name.startswith("skipstream_")
    }


def test_panels_have_their_own_ids_and_places() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24, "Grafana's grid has 24 columns"


def test_provisioning_points_at_what_compose_mounts() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    mounts = {}
    for volume in compose["services"]["grafana"]["volumes"]:
        source, target = volume.split(":")[:2]
        mounts[target] = DEPLOY / source
    assert all(source.is_dir() for source in mounts.values())
    provider = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/skipstream.yml").read_text()
    )["providers"][0]
    assert (mounts[provider["options"]["path"]] / DASHBOARD.name).is_file()

    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]


def test_prometheus_scrapes_the_server_and_reads_the_alerts() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    host, port = config["scrape_configs"][0]["static_configs"][0]["targets"][0].split(":")
    assert host in compose["services"]
    assert re.search(rf"^EXPOSE .*\b{port}\b", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert config["scrape_configs"][0]["job_name"] == "skipstream"
    assert config["rule_files"] == [ALERTS.name]


def kubernetes_objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes/skipstream.yaml").read_text()))


@pytest.mark.parametrize("manifest", kubernetes_objects(), ids=lambda m: m["kind"])
def test_manifests_are_valid(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.31", strict=True)


def test_pods_and_containers_are_given_longer_to_stop_than_the_server_drains() -> None:
    pod = kubernetes_objects()[0]["spec"]["template"]["spec"]
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]
    assert pod["terminationGracePeriodSeconds"] > drain_seconds(pod["containers"][0]["args"])
    assert int(service["stop_grace_period"].removesuffix("s")) > drain_seconds(service["command"])


def drain_seconds(arguments: list[str]) -> float:
    (flag,) = (a for a in arguments if a.startswith("--drain_timeout="))
    return float(flag.partition("=")[2])


def test_probes_ask_for_health_services_that_exist() -> None:
    (container,) = kubernetes_objects()[0]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    services = {
        probe: container[probe]["grpc"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert all(grpc["port"] == ports["grpc"] for grpc in services.values())
    assert services["startupProbe"]["service"] == "liveness"
    assert services["livenessProbe"]["service"] == "liveness"
    assert services["readinessProbe"]["service"] == "readiness"


def test_no_manifest_sets_a_bound_on_memory_that_its_limit_does_not_hold() -> None:
    (container,) = kubernetes_objects()[0]["spec"]["template"]["spec"]["containers"]
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]
    # Without these flags the server takes its bounds from the limit itself.
    for arguments in (container["args"], service["command"]):
        for flag in ("--max_bytes", "--result_cache_mb", "--slots"):
            assert not any(argument.startswith(flag) for argument in arguments), flag
    assert container["resources"]["limits"]["memory"] == "2Gi"
    # Processors are not limited: then threads would be as many as the node has.
    assert "cpu" in container["resources"]["limits"] or any(
        argument.startswith("--threads=") for argument in container["args"]
    )
