"""An OpenTelemetry collector for tests: takes spans over HTTP, as OTLP sends them, and keeps them."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Listens on loopback, on a free port, for as long as this process lives."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def under(self, parent_id: str, seconds: float = 20) -> list[Span]:
        """A span's child, if it comes in time, and all that are under that one."""
        ends = time.monotonic() + seconds
        while not (found := [span for span in list(self._spans) if span.parent_span_id.hex() == parent_id]):
            if time.monotonic() > ends:
                raise TimeoutError(f"no span under {parent_id} in {seconds} s")
            time.sleep(0.2)
        return found + [s for span in found for s in self._there(span.span_id)]

    def _there(self, parent_id: bytes) -> list[Span]:
        found = [span for span in self._spans if span.parent_span_id == parent_id]
        return found + [s for span in found for s in self._there(span.span_id)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        spans = self._spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silence."""

        return Handler
