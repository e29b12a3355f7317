"""What a collector gets: real OTLP over HTTP, decoded by OpenTelemetry's own definitions."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import attrs
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from launchcore.plugin import Outcome, Stage, StageEvent, Verdict
from launchcore.telemetry.traces import Traces, span_id, trace_id
from tests.telemetry.test_metrics import CLAIM, OOM


class Collector:
    """Takes spans, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.instances: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for group in request.resource_spans:
            named = {each.key: each.value.string_value for each in group.resource.attributes}
            self.instances.add(named["service.instance.id"])
            for scope in group.scope_spans:
                self.spans += scope.spans

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def traces(collector: Collector, agent: str = "one") -> Traces:
    return Traces(collector.url, agent=agent, version="0")


def stage(which: Stage, *, ended: float, seconds: float | None) -> StageEvent:
    return StageEvent(
        run_id="r1",
        attempt_id="r1-1",
        queue="gpu",
        stage=which,
        what="finished",
        at=ended,
        seconds=seconds,
    )


def test_a_run_is_one_trace_with_a_span_for_each_stage(collector: Collector) -> None:
    made = traces(collector)
    made.claimed(CLAIM)
    made.launch_observe(stage(Stage.SOURCE, ended=105.0, seconds=None))
    made.launch_observe(stage(Stage.SOURCE, ended=105.0, seconds=2.0))
    made.launch_observe(stage(Stage.BUILD, ended=115.0, seconds=10.0))
    made.ended(CLAIM, Outcome(verdict=Verdict.SUCCEEDED))
    made.close()

    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {"queued", "source", "build", "attempt 1"}
    assert {int.from_bytes(span.trace_id) for span in collector.spans} == {trace_id("r1")}
    attempt = spans["attempt 1"]
    assert int.from_bytes(attempt.span_id) == span_id("r1-1")
    assert spans["build"].parent_span_id == attempt.span_id
    assert spans["build"].end_time_unix_nano - spans["build"].start_time_unix_nano == 10_000_000_000
    assert spans["queued"].end_time_unix_nano - spans["queued"].start_time_unix_nano == 3_000_000_000


def test_a_failure_is_an_error_with_its_reason(collector: Collector) -> None:
    made = traces(collector)
    made.ended(CLAIM, Outcome(verdict=Verdict.FAILED, failure=OOM))
    made.close()

    (span,) = collector.spans
    assert span.status.code == 2
    assert span.status.message == "out_of_memory: too much"


def test_attempts_of_two_agents_are_in_the_trace_of_their_run(collector: Collector) -> None:
    for agent, number in (("one", 1), ("two", 2)):
        claim = attrs.evolve(
            CLAIM, attempt=number, lease=attrs.evolve(CLAIM.lease, attempt_id=f"r1-{number}")
        )
        made = traces(collector, agent)
        made.ended(claim, Outcome(verdict=Verdict.SUCCEEDED))
        made.close()

    assert len({span.trace_id for span in collector.spans}) == 1
    assert len({span.span_id for span in collector.spans}) == 2
    assert collector.instances == {"one", "two"}
