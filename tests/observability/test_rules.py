"""Alert and recording rules: their metrics exist, and promtool finds that each alert fires when it should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from prebook.booking import metrics as booking_metrics
from prebook.devstack.service_environment import SuiteOptions, count_ports
from prebook.kubernetes.checks.metric_names import SUITE_METRICS
from prebook.runtime.telemetry import MESSAGE_LABELS, MessageMetrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "observability"
KUBERNETES_RULES = ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "rules.yaml"
CASES = Path(__file__).with_name("alert_cases.yaml")
DEFAULT_PORT_BASE = 8080
METRIC = re.compile(r"\bprebook_[a-z0-9_]+")
BY = re.compile(r"\bby \(([^)]*)\)")
MATCHER = re.compile(r"([a-z_]+)(?:=~|!=|=)\"")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in load(RULES / "alerts.yaml")["groups"] for rule in group["rules"]]


def recordings() -> list[dict[str, Any]]:
    return [rule for group in load(RULES / "recordings.yaml")["groups"] for rule in group["rules"]]


def exposed_labels() -> dict[str, tuple[str, ...]]:
    """Labels of the metrics that rules may use: those that services expose."""
    registry = CollectorRegistry()
    MessageMetrics(registry)
    messages: dict[str, tuple[str, ...]] = {}
    for family in registry.collect():
        suffixes = ("_bucket",) if family.type == "histogram" else ("_total",)
        messages |= {family.name + suffix: (*MESSAGE_LABELS, "le") for suffix in suffixes}
    decisions = booking_metrics._ADMISSION_DECISIONS
    return {**SUITE_METRICS, **messages, f"{decisions._name}_total": decisions._labelnames}


@pytest.mark.parametrize("rule", [*alerts(), *recordings()], ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_metric_and_label_of_a_rule_exists(rule: dict[str, Any]) -> None:
    known = exposed_labels()
    metrics = set(METRIC.findall(rule["expr"]))
    assert metrics - known.keys() == set()
    labels = {"instance", "job", *(label for metric in metrics for label in known[metric])}
    used = {label.strip() for group in BY.findall(rule["expr"]) for label in group.split(",")}
    assert (used | set(MATCHER.findall(rule["expr"]))) - labels == set()


def test_alerts_are_those_of_kubernetes_by_process_instead_of_pod() -> None:
    (group,) = [each for each in load(KUBERNETES_RULES)["spec"]["groups"] if each["name"] == "prebook"]
    here = {rule["alert"]: (rule["expr"], rule.get("for"), rule["labels"]) for rule in alerts()}
    there = {rule["alert"]: (rule["expr"], rule.get("for"), rule["labels"]) for rule in group["rules"]}
    by_pod = {
        name: (expr.replace("by (instance", "by (pod").replace('job="prebook"', 'namespace="prebook"'), *others)
        for name, (expr, *others) in here.items()
    }
    assert by_pod == there


def test_the_example_reads_the_processes_of_a_local_suite() -> None:
    ports = tuple(range(DEFAULT_PORT_BASE, DEFAULT_PORT_BASE + count_ports()))
    internal = SuiteOptions(ports=ports).internal_urls.values()
    (job,) = load(RULES / "prometheus.yaml")["scrape_configs"]
    assert job["job_name"] == "prebook"
    assert {f"http://{target}" for target in job["static_configs"][0]["targets"]} == set(internal)


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    fired = {
        case["alertname"] for test in load(CASES)["tests"] for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert {rule["alert"] for rule in alerts()} == fired


@pytest.mark.promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(RULES / "alerts.yaml"), str(RULES / "recordings.yaml")),
        ("check", "config", str(RULES / "prometheus.yaml")),
        ("test", "rules", str(CASES)),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "no promtool found; hint: `make test-observability` gets Debian's package prometheus"
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
