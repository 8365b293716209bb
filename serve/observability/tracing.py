"""OpenTelemetry traces: a span for each stage, inside FastAPI's span of the request.

The request's span continues the trace of the caller's `traceparent` header. Spans are sent to the address that
OTEL_EXPORTER_OTLP_ENDPOINT in the environment of the replicas names; if it is unset, no spans are recorded.
"""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def send_spans() -> None:
    """Starts to send this process's spans, if the environment names an address for them."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        name = os.environ.get("OTEL_SERVICE_NAME", "twotower")
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
