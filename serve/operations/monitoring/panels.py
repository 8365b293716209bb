"""The panels of the dashboards: what each shows, and by which queries of Prometheus.

Every metric named here is exported by a live endpoint and a training (tests/serve/operations/test_watch.py).
"""

from dataclasses import dataclass

WINDOW = "1m"
"""The time over which rates are taken; at least four times the interval of the scrapes."""

GAPS = "10m"
"""The time over which a gauge counts that may be missing for a while, as where the process that sets it is replaced."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows.
        unit: Grafana's name of the unit.
        queries: PromQL by the legend of its series.
        says: what to look for.
    """

    title: str
    unit: str
    queries: dict[str, str]
    says: str


def rate(selector: str, by: str = "", window: str = WINDOW) -> str:
    """The PromQL of a rate per second, summed over all series or by a label."""
    return f"sum{f' by ({by})' if by else ''} (rate({selector}[{window}]))"


def _quantile(metric: str, quantile: float, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({quantile}, sum by ({labels}) (rate({metric}_bucket[{WINDOW}])))"


REQUESTS, ERRORS = "ray_twotower_request_ms_count", "ray_twotower_errors_total"
ANSWERS = "ray_twotower_requests_total"
DEGRADED = f'{ANSWERS}{{outcome="degraded"}}'
HAPROXY = 'haproxy_frontend_http_responses_total{proxy="http_frontend"}'
COMPACTED = f"max by (kind) (max_over_time(ray_twotower_compacted_time_s[{GAPS}]))"
LOST = "ray_twotower_lost_records_total"

ENDPOINT = (
    Panel(
        title="Requests per second",
        unit="reqps",
        queries={"{{route}}": rate(REQUESTS, "route")},
        says="Requests that reached a replica.",
    ),
    Panel(
        title="Latency, arrival to last byte",
        unit="ms",
        queries={
            name: _quantile("ray_twotower_request_ms", q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        says="A p99 that rises while p50 stays: replicas queue, or a stage is late.",
    ),
    Panel(
        title="Answers by HAProxy, per second",
        unit="reqps",
        queries={"{{code}}": rate(HAPROXY, "code")},
        says="5xx are refusals beyond what the replicas may have in flight, and replicas that are gone.",
    ),
    Panel(
        title="Errors per second",
        unit="reqps",
        queries={"errors": f"{rate(ERRORS)} or 0 * {rate(REQUESTS)}"},
        says="Answers of replicas with a status of 500 and above.",
    ),
    Panel(
        title="Degraded share",
        unit="percentunit",
        queries={"degraded": f"({rate(DEGRADED)} or 0 * {rate(ANSWERS)}) / {rate(ANSWERS)}"},
        says="Answers without a stage, or with popular items because a stage was late.",
    ),
    Panel(
        title="Stages, p95",
        unit="ms",
        queries={"{{stage}}": _quantile("ray_twotower_stage_ms", 0.95, "stage")},
        says="Which stage takes the time.",
    ),
    Panel(
        title="Replicas",
        unit="short",
        queries={
            "healthy {{deployment}}": "sum by (deployment) (ray_serve_deployment_replica_healthy)",
            "wanted {{deployment}}": "max by (deployment) (ray_serve_autoscaling_target_replicas)",
        },
        says="Wanted above healthy for long: there is no node for the replicas, or they do not start.",
    ),
    Panel(
        title="Requests in progress",
        unit="short",
        queries={"{{deployment}}": "sum by (deployment) (ray_serve_replica_processing_queries)"},
        says="What autoscaling looks at.",
    ),
)

RELEASES = (
    Panel(
        title="Release that answers",
        unit="short",
        queries={"{{release_id}}": "count by (release_id) (ray_twotower_release_info == 1)"},
        says="Replicas by release; two at a time for longer than serve.poll_s is a replica that lags.",
    ),
    Panel(
        title="Answers per second by release",
        unit="reqps",
        queries={"{{release_id}}": rate(ANSWERS, "release_id")},
        says="The shares of a canary or an experiment.",
    ),
    Panel(
        title="Stale live pointer",
        unit="short",
        queries={"replicas": "sum(ray_twotower_pointer_stale)"},
        says="Replicas that the storage has not told what is live within serve.lease_s.",
    ),
    Panel(
        title="Tasks that hang",
        unit="short",
        queries={"{{task}}": "sum by (task) (ray_twotower_task_late)"},
        says="Replicas by the task in their background that takes longer than it should, such as writing `records`.",
    ),
    Panel(
        title="Items per answer",
        unit="short",
        queries={"mean": f"{rate('ray_twotower_results_sum')} / {rate('ray_twotower_results_count')}"},
        says="A fall means filters without items, or an index that is not whole.",
    ),
    Panel(
        title="Answers by source, per second",
        unit="reqps",
        queries={"{{source}}": rate(ANSWERS, "source")},
        says="More `popular` than usual: users whom the release does not know.",
    ),
    Panel(
        title="Open circuit breakers",
        unit="short",
        queries={"{{stage}}": "sum by (stage) (ray_twotower_breaker_open)"},
        says="Stages that kept failing and are skipped; `retrieve` with index=milvus is Milvus.",
    ),
    Panel(
        title="Since logs were compacted",
        unit="s",
        queries={"{{kind}}": f"time() - {COMPACTED}"},
        says="More than events.compact_s: compaction fails, or has much to do. Events wait, and nobody is forgotten.",
    ),
    Panel(
        title="Events that wait for compaction",
        unit="short",
        queries={"events": f"max(last_over_time(ray_twotower_events_waiting[{WINDOW}]))"},
        says="Accepted events that no training sees yet, as of the last compaction.",
    ),
    Panel(
        title="Exposures and decisions lost",
        unit="short",
        queries={"lost": f"sum({LOST}) or 0 * {rate(ANSWERS)}"},
        says="What the storage has not taken from the replicas that run: it refuses writes, or hangs for too long.",
    ),
)

TRAINING = (
    Panel(
        title="Start of the workers",
        unit="s",
        queries={"{{ray_train_run_name}}": "max by (ray_train_run_name) (ray_train_worker_group_start_total_time_s)"},
        says="Long where nodes have to come first.",
    ),
    Panel(
        title="Time in checkpoints",
        unit="s",
        queries={"{{ray_train_run_name}}": "max by (ray_train_run_name) (ray_train_report_total_blocked_time_s)"},
        says="Seconds that workers have waited for reports to be written.",
    ),
)

CLUSTER = (
    Panel(
        title="Nodes",
        unit="short",
        queries={"alive": "count(count by (ip, SessionName) (ray_node_cpu_utilization))"},
        says="Nodes that report; they come with demand and go when idle.",
    ),
    Panel(
        title="CPU",
        unit="percent",
        queries={"{{ip}}": "max by (ip) (ray_node_cpu_utilization)"},
        says="Servers near 100 with replicas at their maximum: raise nodes.types.server.max_workers.",
    ),
    Panel(
        title="Memory in use",
        unit="bytes",
        queries={"{{ip}}": "max by (ip) (ray_node_mem_used)"},
        says="A release comes to memory twice while it changes.",
    ),
    Panel(
        title="Disk that is free",
        unit="bytes",
        queries={"{{ip}}": "min by (ip) (ray_node_disk_free)"},
        says="Ray spills objects and writes logs here.",
    ),
    Panel(
        title="Tasks that wait or run",
        unit="short",
        queries={"{{State}}": 'sum by (State) (ray_tasks{State=~"PENDING.*|RUNNING"})'},
        says="Pending for long: no node has what they ask for.",
    ),
)

DASHBOARDS: dict[str, tuple[Panel, ...]] = {
    "Endpoint": ENDPOINT,
    "Releases and experiments": RELEASES,
    "Training": TRAINING,
    "Cluster": CLUSTER,
}
"""The panels of each dashboard, by its title."""
