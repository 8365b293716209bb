"""Dashboards and alert rules: Prometheus takes them, they raise what they should, and every alert has its runbook."""

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import promql_parser
import pytest
import yaml

from data.artifacts.errors import ConfigError
from serve.observability.request_times import REQUEST_MS
from serve.operations.monitoring.alerts import RUNBOOKS, alerts, rules
from serve.operations.monitoring.grafana import dashboards
from serve.operations.monitoring.page import legend
from serve.operations.monitoring.panels import DASHBOARDS
from serve.operations.objectives import LATENCY_BUCKETS_MS, Objectives
from tests.documentation import ROOT, heading_anchors
from tests.reporting.skipping import skip
from tests.test_docs_references import exported_metrics

SCHEMAS = os.environ.get("KUBERAY_SCHEMAS", "")
PROMTOOL = shutil.which("promtool") or ""
OBJECTIVES = Objectives()
EXPRESSIONS = [query for panels in DASHBOARDS.values() for panel in panels for query in panel.queries.values()] + [
    alert.expression for alert in alerts(OBJECTIVES)
]


def metrics(expression: str) -> set[str]:
    """The metrics that an expression names."""
    found, left = set(), [promql_parser.parse(expression)]
    while left:
        node = left.pop()
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            left.append(node.vector_selector)
        for part in ("expr", "lhs", "rhs", "args"):
            children = getattr(node, part, None)
            left += [child for child in (children if isinstance(children, list) else [children]) if child is not None]
    return found


def test_the_parser_finds_metrics() -> None:
    assert metrics('sum(rate(a_total{x="1"}[5m])) / sum(rate(b[5m])) > 3 or absent(c)') == {"a_total", "b", "c"}


def test_our_metrics_are_exported_by_these_names() -> None:
    ours = {name for expression in EXPRESSIONS for name in metrics(expression) if name.startswith("ray_twotower")}
    assert len(ours) > 10
    assert ours <= exported_metrics()


@pytest.mark.parametrize("name", dashboards())
def test_grafanas_schema_takes_the_dashboards(name: str) -> None:
    if not SCHEMAS:
        skip("there are no schemas of KubeRay's kinds", "KUBERAY_SCHEMAS=/where/they/lie make test")
    schema = json.loads((Path(SCHEMAS) / "grafana-dashboard.json").read_text())
    jsonschema.validate(dashboards()[name], schema)


def test_panels_have_what_grafana_tells_them_apart_by() -> None:
    for board in dashboards().values():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
        assert len(set(places)) == len(places)
        for panel in board["panels"]:
            assert panel["description"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_every_alert_has_a_runbook() -> None:
    anchors = heading_anchors(ROOT / RUNBOOKS)
    names = [alert.name for alert in alerts(OBJECTIVES)]
    assert len(set(names)) == len(names)
    assert {name.lower() for name in names} <= anchors
    for rule in rules(OBJECTIVES)["groups"][0]["rules"]:
        assert rule["annotations"]["runbook"].partition("#")[2] in anchors


def test_a_latency_target_is_a_bucket() -> None:
    assert list(LATENCY_BUCKETS_MS) == REQUEST_MS
    with pytest.raises(ConfigError, match=r"latency_ms: 75 is no bucket .* choose one of 1, 2, 5"):
        Objectives(latency_ms=75)


def test_a_legend_is_filled_from_labels() -> None:
    assert legend("wanted {{deployment}}", {"deployment": "Recommender"}) == "wanted Recommender"


def test_the_pages_dashboards_are_grafanas() -> None:
    text = (ROOT / "serve/operations/monitoring/page.html").read_text()
    assert "/content" in text
    assert ast.literal_eval(repr(list(DASHBOARDS)))[0] == "Endpoint"


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    if not PROMTOOL:
        skip("there is no promtool", "apt-get install prometheus, then the same again")
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules(OBJECTIVES)))
    done = promtool("check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr


QUIET = {
    'haproxy_frontend_http_responses_total{proxy="http_frontend",code="2xx"}': "0+6000x200",
    'haproxy_frontend_http_responses_total{proxy="http_frontend",code="5xx"}': "0+1x200",
    "ray_twotower_request_ms_count": "0+6000x200",
    'ray_twotower_request_ms_bucket{le="100.0"}': "0+5990x200",
    'ray_twotower_requests_total{outcome="ok"}': "0+6000x200",
    'ray_twotower_requests_total{outcome="degraded"}': "0+6x200",
    "ray_twotower_index_recall_sum": "0+5.9x200",
    "ray_twotower_index_recall_count": "0+6x200",
    'ray_twotower_breaker_open{stage="retrieve"}': "0x200",
    'ray_serve_deployment_replica_healthy{deployment="Recommender"}': "1x200",
    "ray_twotower_pointer_stale": "0x200",
    'ray_twotower_task_late{task="records"}': "0x200",
    'ray_twotower_task_late{task="events"}': "0x200",
    "ray_twotower_guard_rollbacks": "0x200",
    'ray_twotower_compacted_time_s{kind="events"}': "0+60x200",
    'ray_node_disk_free{ip="1"}': "50x200",
    'ray_node_disk_usage{ip="1"}': "50x200",
}
"""Values by the minute on an ordinary day."""

LOST_DECISIONS = 'ray_twotower_lost_records_total{kind="decisions"}'

WRONG = {
    "ErrorBudgetFast": {'haproxy_frontend_http_responses_total{proxy="http_frontend",code="5xx"}': "0+200x200"},
    "ErrorBudgetSlow": {'haproxy_frontend_http_responses_total{proxy="http_frontend",code="5xx"}': "0+20x200"},
    "LatencyBudgetFast": {'ray_twotower_request_ms_bucket{le="100.0"}': "0+3000x200"},
    "LatencyBudgetSlow": {'ray_twotower_request_ms_bucket{le="100.0"}': "0+5800x200"},
    "DegradedAnswers": {'ray_twotower_requests_total{outcome="degraded"}': "0+600x200"},
    "RecallLow": {"ray_twotower_index_recall_sum": "0+5x200"},
    "RetrievalSkipped": {'ray_twotower_breaker_open{stage="retrieve"}': "1x200"},
    "NoReplicas": {'ray_serve_deployment_replica_healthy{deployment="Recommender"}': "0x200"},
    "PointerStale": {"ray_twotower_pointer_stale": "1x200"},
    "TaskHangs": {'ray_twotower_task_late{task="records"}': "1x200"},
    "GuardRolledBack": {"ray_twotower_guard_rollbacks": "0x170 1x30"},
    "CompactionFails": {'ray_twotower_compacted_time_s{kind="events"}': "0x200"},
    "CompactionAbsent": {'ray_twotower_compacted_time_s{kind="events"}': "_x200"},
    "RecordsLost": {LOST_DECISIONS: "_x170 40x30"},  # its series begins with the first loss
    "DiskLow": {'ray_node_disk_free{ip="1"}': "5x200"},
}
"""What is otherwise on a day on which an alert is raised, by the alert."""

FAILS_BY_GRPC = {
    'ray_twotower_request_ms_count{route="grpc Recommend"}': "0+6000x200",
    'ray_twotower_request_ms_bucket{route="grpc Recommend",le="100.0"}': "0+5990x200",
    'ray_twotower_errors_total{route="grpc Recommend",code="500"}': "0+200x200",
}
"""A day on which calls by gRPC fail, whose status HAProxy does not see."""


def with_gaps(value_of_minute: Callable[[int], int]) -> dict[str, str]:
    """When events were compacted, by a gauge that Prometheus finds in one of five minutes, and misses in the others."""
    values = (str(value_of_minute(minute)) if minute % 5 == 0 else "stale" for minute in range(201))
    return {'ray_twotower_compacted_time_s{kind="events"}': " ".join(values)}


FURTHER = {
    "quiet": (dict[str, str](), set[str]()),
    "gRPC": (FAILS_BY_GRPC, {"ErrorBudgetFast", "ErrorBudgetSlow"}),
    "more are lost": ({LOST_DECISIONS: "40x170 41x30"}, {"RecordsLost"}),
    "lost yesterday": ({LOST_DECISIONS: "40x200"}, set[str]()),
    "gaps": (with_gaps(lambda minute: 60 * minute), set[str]()),
    "fails, with gaps": (with_gaps(lambda _: 0), {"CompactionFails"}),
    "no events": (
        {'ray_twotower_compacted_time_s{kind="events"}': "_x200", 'ray_twotower_task_late{task="events"}': "_x200"},
        set[str](),
    ),
}
"""Further days: what is otherwise, and which alerts are raised."""


def test_alerts_are_raised_by_what_they_are_for_and_by_nothing_else(tmp_path: Path) -> None:
    assert set(WRONG) == {alert.name for alert in alerts(OBJECTIVES)}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules(OBJECTIVES)))
    written = {rule["alert"]: rule for rule in rules(OBJECTIVES)["groups"][0]["rules"]}
    more = {"ErrorBudgetFast": {"ErrorBudgetSlow"}, "LatencyBudgetFast": {"LatencyBudgetSlow"}}
    days = FURTHER | {day: (changed, {day, *more.get(day, ())}) for day, changed in WRONG.items()}
    tests = []
    for day, (changed, raised) in days.items():
        series = [{"series": name, "values": values} for name, values in {**QUIET, **changed}.items()]
        expected = [
            {"eval_time": "175m", "alertname": name, "exp_alerts": [_firing(rule, name)] if name in raised else []}
            for name, rule in written.items()
        ]
        tests.append({"interval": "1m", "name": day, "input_series": series, "alert_rule_test": expected})
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def _firing(rule: dict[str, dict[str, str]], name: str) -> dict[str, dict[str, str]]:
    labels = {**rule["labels"]}
    if name == "DiskLow":
        labels["ip"] = "1"
    if name == "TaskHangs":
        labels["task"] = "records"
    if name == "RecordsLost":
        labels["kind"] = "decisions"
    if name in ("CompactionFails", "CompactionAbsent"):
        labels["kind"] = "events"
    if name == "NoReplicas":
        labels = {**rule["labels"]}
    return {"exp_labels": labels, "exp_annotations": rule["annotations"]}
