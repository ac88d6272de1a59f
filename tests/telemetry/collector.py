"""A collector on the official messages of OTLP, over gRPC and over HTTP, that can be slow and can lie."""

import http.server
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace

KINDS = {
    "traces": (trace.ExportTraceServiceRequest, trace.ExportTraceServiceResponse, "trace", "TraceService"),
    "metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse, "metrics", "MetricsService"),
    "logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse, "logs", "LogsService"),
}


class Collector:
    """What came, and what is said to it: `honest`, `silent`, `busy`, `refusing`, `garbage`, `endless` or `partial`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.raw = b""
        self.messages = {kind: [] for kind in KINDS}
        self.mood = "honest"
        self.released = threading.Event()

    def take(self, kind, body):
        message = KINDS[kind][0].FromString(body)
        with self.lock:
            self.raw += body
            self.messages[kind].append(message)

    def spans(self):
        with self.lock:
            return [
                span
                for message in self.messages["traces"]
                for resource in message.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def figures(self):
        with self.lock:
            return {
                metric.name: metric
                for message in self.messages["metrics"]
                for resource in message.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }

    def lines(self):
        with self.lock:
            return [
                record
                for message in self.messages["logs"]
                for resource in message.resource_logs
                for scope in resource.scope_logs
                for record in scope.log_records
            ]

    def bodies(self):
        with self.lock:
            return self.raw


class Grpc(Collector):
    protocol = "grpc"

    def __init__(self, port=0):
        super().__init__()
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        for kind, (_, _, package, service) in KINDS.items():
            handler = grpc.unary_unary_rpc_method_handler(self.answer_to(kind))
            name = f"opentelemetry.proto.collector.{package}.v1.{service}"
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": handler}),))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.server.start()

    def answer_to(self, kind):
        def answer(body, context):
            if self.mood == "silent":
                self.released.wait()
            if self.mood == "busy":
                context.abort(grpc.StatusCode.UNAVAILABLE, "come back")
            if self.mood == "refusing":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
            if self.mood == "garbage":
                return b"\xff" * 300
            if self.mood == "endless":
                return b"\x00" * (1 << 20)
            self.take(kind, body)
            return partial(kind, self.mood)

        return answer

    def stop(self):
        self.released.set()
        self.server.stop(0).wait()


class Http(Collector):
    protocol = "http"

    def __init__(self, port=0):
        super().__init__()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/x-protobuf"
                outer.answer(self, self.path.rsplit("/", 1)[1], body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request, kind, body):
        if self.mood == "silent":
            self.released.wait()
        status = {"busy": 503, "refusing": 403}.get(self.mood, 200)
        said = {"garbage": b"\xff" * 300, "endless": b"\x00" * (1 << 20)}.get(self.mood)
        if status == 200 and said is None:
            self.take(kind, body)
            said = partial(kind, self.mood)
        request.send_response(status)
        request.send_header("content-type", "application/x-protobuf")
        request.send_header("content-length", str(len(said or b"")))
        # A kept connection would go on answering when the collector is gone.
        request.send_header("connection", "close")
        request.close_connection = True
        request.end_headers()
        try:
            request.wfile.write(said or b"")
        except OSError:
            pass

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


def partial(kind, mood):
    answer = KINDS[kind][1]()
    if mood == "partial":
        field = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}[kind]
        setattr(answer.partial_success, field, 1)
    return answer.SerializeToString()
