"""HAProxy's configuration: Ray Serve's template, changed.

- HAProxy refuses requests beyond those that the ingress replicas may have in progress and in their queues, within
  microseconds, by 503 with Retry-After. A refusal by a replica takes a good part of the time of an answer, and under a
  flood replicas would spend all of their core on refusals. HAProxy's own metrics count the refusals. They are not
  logged, because logging added 25 % to their cost.
- Where it knows of no application yet, HAProxy answers 503 with Retry-After, and not 404. While no replica of one runs,
  Ray Serve's own proxy on the head keeps its requests until one does, as when the only replica is replaced.
- A request that a dead replica did not take goes to another one after a tenth of a second; by Ray's template, after a
  whole one. A request that a replica had when it died is answered by 502 in JSON, where Ray says 500 in plain text. It
  is not sent again: one that ends its replica would end the next one too.
- HAProxy waits for a body, whatever the method, before it passes the request on, so that bodies which come slowly take
  no place of a replica. Requests without a body it passes on at once.
- Statistics and metrics listen on loopback; Ray binds them to all interfaces.
"""

import os

METRICS_HOST = "TWOTOWER_HAPROXY_METRICS_HOST"
"""Environment variable with the address on which HAProxy's metrics listen, so that a Prometheus elsewhere may scrape
them; loopback unless it is set."""

WAIT_FOR_BODY_S = 5

BUFFER_BYTES = 96 * 1024
"""HAProxy waits for bodies as far as its buffer goes: for all but those of many events (serve/api/limits.py)."""

CONNECT_MS = 100
"""Milliseconds within which a replica accepts a connection. HAProxy lets as many pass before it tries another one."""

TOO_MANY = '{"detail":"more requests than the replicas can take; try again"}'
NO_REPLICA = '{"detail":"no replica took the request; try again"}'
NOT_READY = '{"detail":"the proxy has just started and knows no replicas yet; try again"}'
REPLICA_DIED = '{"detail":"the replica that had this request has died; try again"}'
NO_ANSWER = '{"detail":"the replica did not answer; try again"}'

WAIT_FOR_BODY = f"""    http-error status 408 content-type application/json string \
'{{"detail":"request body: not complete after {WAIT_FOR_BODY_S} s; send it faster"}}'
    http-request wait-for-body time {WAIT_FOR_BODY_S}s
"""

TRY_AGAIN = "content-type application/json hdr Retry-After 1 string"

UNAVAILABLE = f"http-request return status 503 {TRY_AGAIN}"

REFUSALS = (
    """{%- for backend in backends %}
    http-request set-var(txn.room) nbsrv(NAME),mul(IN_FLIGHT)SHARED if is_NAME
    http-request set-log-level silent if is_NAME { be_conn(NAME),sub(txn.room) ge 0 }
    UNAVAILABLE 'TOO_MANY' if is_NAME { be_conn(NAME),sub(txn.room) ge 0 }
{%- endfor %}
""".replace("NAME", "{{ backend.name or 'unknown' }}")
    .replace("UNAVAILABLE", UNAVAILABLE)
    .replace("TOO_MANY", TOO_MANY)
    .replace(
        "SHARED",
        "{%- set hosts = backend.servers | map(attribute='host') | unique | list %}"
        "{%- set nodes = hosts | length if '127.0.0.1' in hosts or '::1' in hosts else 1 %}"
        ",add({{ nodes - 1 }}),div({{ nodes }})",
    )
)
"""Rules that refuse what exceeds the replicas' room. Each node's proxy admits its share of it: where replicas run on
this node too, which Ray calls by loopback, and on others, each of these nodes has a proxy. (A proxy on a head without
replicas admits all of it: it may be the only one.)
"""

ROUTING = "    # Static routing based on path prefixes in decreasing length then alphabetical order\n"

UNKNOWN_PATH = "\nbackend default_backend\n"

NO_APPLICATION = f"""{{%- if not backends %}}
    {UNAVAILABLE} '{NOT_READY}' hdr Connection close
{{%- endif %}}
"""
"""It closes the connection, which would lead to this process still when its successor knows replicas."""

ERRORS_IN_TEXT = """    {%- if config.error_file_path %}
    errorfile 502 {{ config.error_file_path }}
    errorfile 503 {{ config.error_file_path }}
    errorfile 504 {{ config.error_file_path }}
    {%- endif %}
"""

ERRORS_IN_JSON = "".join(
    f"    http-error status {status} {TRY_AGAIN} '{body}'\n"
    for status, body in ((502, REPLICA_DIED), (503, NO_REPLICA), (504, NO_ANSWER))
)

REPLACED = {
    ROUTING: WAIT_FOR_BODY + REFUSALS + ROUTING,
    UNKNOWN_PATH: UNKNOWN_PATH + NO_APPLICATION,
    ERRORS_IN_TEXT: ERRORS_IN_JSON,
    "timeout connect {{ config.timeout_connect_s }}s": f"timeout connect {CONNECT_MS}ms",
    "    tune.bufsize {{ config.bufsize }}\n": f"    tune.bufsize {BUFFER_BYTES}\n",
    "    bind :{{ config.metrics_port }}\n": "    bind SCRAPED:{{ config.metrics_port }}\n",
    "  bind *:{{ config.stats_port }}\n": "  bind 127.0.0.1:{{ config.stats_port }}\n",
}
"""What takes the place of what in Ray's template, in which each is there once."""


def patched_template(template: str, in_flight: int) -> str:
    """Returns Ray's template with all changes.

    Args:
        template: HAPROXY_CONFIG_TEMPLATE of Ray Serve.
        in_flight: requests that one ingress replica has at most, ongoing and queued.

    Raises:
        ValueError: it is not the template that the changes were written for.
    """
    scraped = os.environ.get(METRICS_HOST, "127.0.0.1")
    for old, new in REPLACED.items():
        if template.count(old) != 1:
            raise ValueError(
                f"Ray Serve's HAProxy template has no longer one line {old.strip()!r};"
                " see data/cluster/ray_compatibility"
            )
        template = template.replace(old, new.replace("IN_FLIGHT", str(in_flight)).replace("SCRAPED", scraped))
    return template
