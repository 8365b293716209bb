"""OpenTelemetry: a span per stage, in FastAPI's own span of the request, which takes up the caller's `traceparent`.

Spans are sent where OTEL_EXPORTER_OTLP_ENDPOINT, in the environment of the replicas, says; without it there are none.
"""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def send_spans() -> None:
    """Sends this process's spans from now on, if the environment says where to."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        name = os.environ.get("OTEL_SERVICE_NAME", "twotower")
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
