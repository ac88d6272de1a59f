"""What leaves the gateway for a collector of OpenTelemetry: CAUSEWAY_BINARY=… python otlp_test.py"""

import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from collector import Grpc, Http

BINARY = os.environ["CAUSEWAY_BINARY"]
KEY = "cw_a-key-that-is-planted"
STRANGER = "cw_planted-key-of-a-stranger"
PROMPT = "planted-prompt-4d1f"
ANSWER = "planted-answer-77ab"
USER = "planted-user-c0de"
BAGGAGE = "planted-baggage-91"
UPSTREAM_KEY = "planted-upstream-key"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
PSEUDONYMS = {"pseudonyms.key": "PSEUDONYM+KEY+0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"}
AUDIT = '[audit]\npseudonyms = { key = "pseudonyms.key", held_by = "data protection office" }\n'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, look, seconds=60):
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


class Upstream:
    """Answers, or says that it is busy; it keeps the headers that came."""

    def __init__(self, status):
        outer = self
        self.headers = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                outer.headers.append(self.headers)
                message = {"role": "assistant", "content": ANSWER}
                body = {
                    "id": "c", "object": "chat.completion", "created": 1, "model": "served",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
                }
                body = json.dumps(body if status == 200 else {"error": {"message": ANSWER, "type": "x", "code": "y"}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    def __init__(self, protocol, port, upstreams, more="", files=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="causeway-otlp-"))
        self.data, self.admin = free_port(), free_port()
        key = self.folder / "upstream.key"
        key.write_text(UPSTREAM_KEY)
        key.chmod(0o600)
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        endpoints = "".join(
            f"""
[endpoint.{name}]
provider = "openai"
url = "http://127.0.0.1:{upstream.port}/v1"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
place = {{ site = "lab" }}
auth = {{ key = {{ file = "upstream.key" }} }}
cost = {{ per_token = {{ input_usd_per_million = {price}, output_usd_per_million = {price} }} }}
trace_context = {told}
"""
            for price, (name, upstream, told) in enumerate(upstreams, 1)
        )
        targets = ", ".join(f'"{name}/served-{name}"' for name, _, _ in upstreams)
        (self.folder / "causeway.toml").write_text(f"""
[listen]
address = "127.0.0.1:{self.data}"
[admin]
address = "127.0.0.1:{self.admin}"
[state]
folder = "state"
[site.lab]
country = "DE"
{endpoints}
[model.assistant]
targets = [{targets}]
[app.claims]
team = "insurance"
keys = ["sha256:{digest}"]
models = ["assistant"]
[data.claims]
labels = []
[telemetry.otlp]
url = "http://127.0.0.1:{port}"
protocol = "{protocol}"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
metrics_every_s = 1
{more}
""")
        self.log = open(self.folder / "gateway.log", "wb")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", "causeway.toml", "--readiness-lead", "0"],
            cwd=self.folder, stdout=self.log, stderr=self.log,
        )
        until("the gateway to be ready", self.is_ready)

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "gateway.log").read_text()
        try:
            return self.operator("/readyz")[0] == 200
        except OSError:
            return False

    def operator(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def figure(self, series):
        for line in self.operator("/metrics")[1].splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def ask(self, model="assistant", headers=None):
        body = {"model": model, "user": USER, "messages": [{"role": "user", "content": PROMPT}]}
        connection = http.client.HTTPConnection("127.0.0.1", self.data, timeout=30)
        own = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {**own, **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def memory_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()
        shutil.rmtree(self.folder)


def attributes(item):
    values = {}
    for attribute in item.attributes:
        kind = attribute.value.WhichOneof("value")
        values[attribute.key] = getattr(attribute.value, kind)
    return values


class Telemetry:
    def setUp(self):
        self.busy, self.good = Upstream(503), Upstream(200)
        self.collector = self.Collector()
        self.gateway = None
        for one in (self.busy, self.good):
            self.addCleanup(one.stop)
        self.addCleanup(lambda: self.collector.stop())

    def start(self, more="", files=None):
        upstreams = [("first", self.busy, "false"), ("second", self.good, "true")]
        self.gateway = Gateway(self.collector.protocol, self.collector.port, upstreams, more, files)
        self.addCleanup(self.gateway.stop)
        return self.gateway

    def trace(self, parent, state="corp=1"):
        return {"traceparent": parent, "tracestate": state, "baggage": f"secret={BAGGAGE}"}

    def test_a_request_is_a_span_with_its_stages_and_attempts_and_nothing_of_its_content(self):
        gateway = self.start()

        self.assertEqual(gateway.ask(headers=self.trace(f"00-{TRACE}-{CALLER}-01")), 200)
        self.assertEqual(gateway.ask(model="no-such-planted-model"), 404)

        spans = until("the spans", lambda: (s := self.collector.spans()) and len([x for x in s if x.kind == 2]) == 2 and s)
        of_caller = [span for span in spans if span.trace_id.hex() == TRACE]
        root = next(span for span in of_caller if span.kind == 2)
        self.assertEqual((root.name, root.parent_span_id.hex()), ("chat assistant", CALLER))
        self.assertEqual({span.trace_state for span in spans}, {""}, "what a caller writes there is not kept")
        said = attributes(root)
        for name, value in {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "assistant", "gen_ai.usage.input_tokens": 11,
            "gen_ai.usage.output_tokens": 7, "causeway.app": "claims", "causeway.team": "insurance", "causeway.code": "ok",
            "http.response.status_code": 200,
        }.items():
            self.assertEqual(said[name], value, name)
        self.assertRegex(said["causeway.decision"], "^cwd_[0-9a-f]{32}$")
        below = [span for span in of_caller if span is not root]
        self.assertTrue(all(span.parent_span_id == root.span_id for span in below))
        stages = [span.name for span in below if span.kind == 1]
        self.assertEqual(stages, ["authenticate", "admit", "decode", "inspect", "authorize", "plan", "reserve", "record"])
        first, second = [span for span in below if span.kind == 3]
        self.assertEqual((first.name, second.name), ("chat served-first", "chat served-second"))
        self.assertEqual((first.status.code, second.status.code), (2, 0))
        self.assertEqual(attributes(first)["error.type"], "status_503")
        self.assertEqual(attributes(second)["gen_ai.usage.output_tokens"], 7)
        self.assertEqual(attributes(second)["gen_ai.provider.name"], "openai")
        self.assertLessEqual(root.start_time_unix_nano, first.start_time_unix_nano)
        self.assertLessEqual(first.end_time_unix_nano, second.end_time_unix_nano)
        self.assertLessEqual(second.end_time_unix_nano, root.end_time_unix_nano)

        told, untold = self.good.headers[0], self.busy.headers[0]
        self.assertEqual(told["traceparent"], f"00-{TRACE}-{second.span_id.hex()}-01")
        self.assertEqual((told["tracestate"], told["baggage"]), ("corp=1", None))
        self.assertEqual([untold[name] for name in ("traceparent", "tracestate", "baggage")], [None] * 3)

        refused = next(span for span in spans if span.kind == 2 and span is not root)
        self.assertEqual((refused.name, attributes(refused)["error.type"]), ("chat", "model_not_found"))

        figures = until("the figures", lambda: (f := self.collector.figures()) and "gen_ai.server.request.duration" in f and f)
        duration = figures["gen_ai.server.request.duration"].histogram.data_points[0]
        self.assertEqual(attributes(duration), {"gen_ai.request.model": "assistant"})
        self.assertEqual(sum(duration.bucket_counts), duration.count)
        self.assertTrue(figures["causeway_requests"].sum.is_monotonic)
        self.assertEqual(gateway.ask(headers={"authorization": f"Bearer {STRANGER}"}), 401)
        line = until("a log line", lambda: [x for x in self.collector.lines() if "credential was refused" in x.body.string_value])[0]
        self.assertEqual((line.severity_number, attributes(line)["code.namespace"]), (13, "server::pipeline::arrive"))

        for planted in (PROMPT, ANSWER, USER, KEY, STRANGER, UPSTREAM_KEY, BAGGAGE, "no-such-planted-model"):
            self.assertNotIn(planted.encode(), self.collector.bodies(), planted)

    def test_a_trace_that_the_caller_does_not_keep_is_passed_on_and_not_kept_here(self):
        gateway = self.start()

        self.assertEqual(gateway.ask(headers=self.trace(f"00-{TRACE}-{CALLER}-00")), 200)
        self.assertEqual(gateway.ask(headers=self.trace("00-00000000000000000000000000000000-0000000000000000-01")), 200)

        spans = until("the other spans", self.collector.spans)
        self.assertNotIn(TRACE, [span.trace_id.hex() for span in spans])
        self.assertRegex(self.good.headers[0]["traceparent"], f"^00-{TRACE}-[0-9a-f]{{16}}-00$")
        self.assertNotRegex(self.good.headers[1]["traceparent"], "^00-0{32}")

    def test_nobody_is_traced_at_zero_percent_but_who_asks_for_it(self):
        gateway = self.start("sample_percent = 0")

        for _ in range(20):
            self.assertEqual(gateway.ask(), 200)
        self.assertEqual(gateway.ask(headers=self.trace(f"00-{TRACE}-{CALLER}-01")), 200)

        spans = until("the spans", self.collector.spans)
        self.assertEqual({span.trace_id.hex() for span in spans}, {TRACE})

    def users_of_one_request(self, more):
        gateway = self.start(more + "\n" + AUDIT, PSEUDONYMS)
        self.assertEqual(gateway.ask(), 200)
        spans = until("the span", lambda: [span for span in self.collector.spans() if span.kind == 2])
        self.assertNotIn(USER.encode(), self.collector.bodies())
        return gateway, [attributes(span).get("enduser.pseudo.id") for span in spans]

    def test_a_user_is_shown_by_the_pseudonym_of_the_audit_log_where_that_is_wanted(self):
        gateway, users = self.users_of_one_request("users = true")

        found = subprocess.run(
            [BINARY, "keys", "pseudonym-of", "--key", "pseudonyms.key", "--app", "claims"],
            cwd=gateway.folder, input=USER + "\n", capture_output=True, text=True, check=True,
        )
        self.assertEqual(users, [found.stdout.strip()])

    def test_no_user_is_shown_by_default_though_the_audit_log_has_pseudonyms(self):
        _, users = self.users_of_one_request("")

        self.assertEqual(users, [None])

    def test_the_collector_stands_in_the_plan_of_the_network(self):
        gateway = self.start()

        plan = subprocess.run(
            [BINARY, "netplan", "--config", "causeway.toml", "--format", "csv"],
            cwd=gateway.folder, capture_output=True, text=True, check=True,
        )

        self.assertRegex(plan.stdout, f"(?m)telemetry.*{self.collector.port}")

    def test_a_collector_that_lies_costs_no_request(self):
        gateway = self.start()
        for mood in ("busy", "refusing", "garbage", "endless"):
            failures = gateway.figure('causeway_otlp_failures_total{signal="traces"}')
            self.collector.mood = mood
            self.assertEqual(gateway.ask(), 200, mood)
            until(f"a failure: {mood}", lambda: gateway.figure('causeway_otlp_failures_total{signal="traces"}') > failures)
            self.assertEqual(gateway.ask(), 200, mood)

        self.collector.mood = "partial"
        until("what is dropped after three tries", lambda: gateway.figure('causeway_otlp_dropped_total{signal="traces"}') > 0)
        self.assertEqual(gateway.ask(headers=self.trace(f"00-{TRACE}-{CALLER}-01")), 200)
        until("the spans again", lambda: [span for span in self.collector.spans() if span.trace_id.hex() == TRACE])

    def test_a_collector_that_is_silent_costs_no_request_and_bounded_memory(self):
        gateway = self.start()
        self.collector.mood = "silent"
        for _ in range(20):
            self.assertEqual(gateway.ask(), 200)
        before = gateway.memory_kib()

        with ThreadPoolExecutor(8) as callers:
            statuses = list(callers.map(lambda _: gateway.ask(), range(1_500)))

        self.assertEqual(set(statuses), {200})
        until("what does not fit", lambda: gateway.figure('causeway_otlp_dropped_total{signal="traces"}') > 0)
        self.assertLess(gateway.memory_kib() - before, 64 * 1024)

    def test_a_collector_that_is_not_there_costs_no_request_and_is_found_when_it_comes(self):
        gateway = self.start()
        port = self.collector.port
        self.collector.stop()
        failures = lambda: gateway.figure('causeway_otlp_failures_total{signal="traces"}')
        self.assertEqual(gateway.ask(), 200)
        until("a failure", lambda: failures() > 0)

        self.collector = self.Collector(port)

        until("a span", lambda: gateway.ask() == 200 and self.collector.spans())


class OverGrpc(Telemetry, unittest.TestCase):
    Collector = Grpc


class OverHttp(Telemetry, unittest.TestCase):
    Collector = Http


if __name__ == "__main__":
    unittest.main(verbosity=2)
