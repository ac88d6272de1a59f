"""Holds routing to its word among real llama.cpp servers of different speed and two scripted clouds.

    routing_live.py GATEWAY

What is asserted are counts and orders, never how long something took. `tests/servers/prepare` comes first.
"""

import concurrent.futures
import contextlib
import http.server
import itertools
import json
import pathlib
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import with_servers
from with_servers import CACHE, CHAT, HERE, free_port, said_port, spawn, wait_for

KEY = "cw_test_routing"
# A cloud answers so many requests and says 429 from then on.
QUOTA = 4


class Cloud(http.server.ThreadingHTTPServer):
    """Answers at once, until its quota is used up."""

    def __init__(self, quota):
        super().__init__(("127.0.0.1", 0), Answers)
        self.quota, self.answered, self.refused, self.counting = quota, 0, 0, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def admits(self):
        with self.counting:
            if self.quota is not None and self.answered >= self.quota:
                self.refused += 1
                return False
            self.answered += 1
            return True


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        if self.server.admits():
            message = {"role": "assistant", "content": "from a cloud"}
            usage = {"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001}
            part = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            first = part | {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
            events = [json.dumps(first), json.dumps(part | {"choices": [], "usage": usage}), "[DONE]"]
            self.say(200, "".join(f"data: {event}\n\n" for event in events), {"content-type": "text/event-stream"})
        else:
            error = {"error": {"message": "quota", "type": "x", "code": "rate_limit_exceeded"}}
            self.say(429, json.dumps(error), {"content-type": "application/json", "retry-after": "600"})

    def say(self, status, text, headers):
        body = text.encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def configuration(ports, doors):
    digest = with_servers.digest_of(KEY)
    endpoint = lambda name, cost, signals="": f"""
        [endpoint.{name}]
        provider = "openai"
        url = "http://127.0.0.1:{ports[name]}/v1"
        reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
        place = {{ site = "lab" }}
        cost = {cost}
        {signals}
    """
    own = lambda name: endpoint(
        name, "{ fixed = { usd_per_hour = 20 } }", f'signals = {{ metrics = "http://127.0.0.1:{ports[name]}/metrics" }}'
    )
    paid = lambda name, usd: endpoint(
        name, f"{{ per_token = {{ input_usd_per_million = {usd}, output_usd_per_million = {usd} }} }}"
    )
    text = f"""
        [listen]
        address = "127.0.0.1:{doors['data']}"
        [admin]
        address = "127.0.0.1:{doors['admin']}"
        [health]
        address = "127.0.0.1:{doors['health']}"
        [state]
        folder = "state"
        [site.lab]
        country = "DE"
        operator = "DE"
        {paid('dear', 9)}
        {paid('cheap', 1)}
        {own('slow')}
        {own('fast')}
        [model.patient]
        targets = ["slow/{CHAT}", "fast/{CHAT}"]
        [model.prompt]
        targets = ["dear/m", "cheap/m", "slow/{CHAT}", "fast/{CHAT}"]
        first_token = {{ p95_ms = 1000 }}
        [app.tests]
        team = "testers"
        keys = ["{digest}"]
        models = ["patient", "prompt"]
        [data.tests]
        labels = []
    """
    return "\n".join(line.strip() for line in text.splitlines())


class Caller:
    def __init__(self, doors):
        self.doors, self.numbers = doors, itertools.count()

    def ask(self, model, words):
        # Each prompt begins in a way of its own, so that no server has it in its cache.
        content = f"{next(self.numbers)} in {time.monotonic_ns()}: " + "ship " * words
        body = {"model": model, "max_tokens": 1, "stream": True, "messages": [{"role": "user", "content": content}]}
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        url = f"http://127.0.0.1:{self.doors['data']}/v1/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert b"[DONE]" in answer.read(), "an answer ends as it should"
            return answer.headers["x-causeway-endpoint"]

    def ask_many(self, at_a_time, count, model, words):
        with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
            return list(pool.map(lambda _: self.ask(model, words), range(count)))

    def operator(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.doors['admin']}{path}", timeout=30) as answer:
            return answer.read().decode()


def check(what, holds, shown):
    print(f"{'ok  ' if holds else 'FAIL'} {what}: {shown}", flush=True)
    return holds


def run(gateway, stack, folder):
    python, model = str(CACHE / "venv/bin/python"), str(CACHE / "models" / f"{CHAT}.gguf")
    llama = [python, str(HERE / "serve_llama.py"), model, "chat"]
    # The slow one reads two tokens at a time, which takes many times as long.
    started = {"fast": spawn(stack, folder / "fast.log", llama), "slow": spawn(stack, folder / "slow.log", [*llama, "--batch", "2"])}
    ports = {name: said_port(process, folder / f"{name}.log") for name, process in started.items()}
    clouds = {"cheap": Cloud(QUOTA), "dear": Cloud(None)}
    ports |= {name: cloud.server_address[1] for name, cloud in clouds.items()}
    doors = {name: free_port() for name in ("data", "admin", "health")}
    (folder / "causeway.toml").write_text(configuration(ports, doors))
    log = folder / "gateway.log"
    spawn(stack, log, [str(gateway.resolve()), "serve", "--config", str(folder / "causeway.toml")])
    wait_for(f"http://127.0.0.1:{doors['health']}/readyz", log)
    return all(checks(Caller(doors), clouds))


def checks(caller, clouds):
    went = caller.ask_many(4, 30, "patient", 800)
    yield check("a slow replica loses its share within ten requests", went[10:].count("slow") * 2 <= went[10:].count("fast"), went)

    burst = caller.ask_many(40, 40, "prompt", 1500)
    counts = {name: burst.count(name) for name in ("fast", "slow", "cheap", "dear")}
    own, paid = counts["fast"] + counts["slow"], counts["cheap"] + counts["dear"]
    yield check("saturation sends to clouds what own servers cannot answer in time", own > 0 and paid > 0, counts)
    yield check("the cheaper cloud is used up first", counts["cheap"] == QUOTA and counts["dear"] > 0, counts)
    met = clouds["cheap"].refused
    pressure = [line for line in caller.operator("/metrics").splitlines() if line.startswith("causeway_burst_open")]
    yield check("an autoscaler can read that it bursts", any(line.endswith(" 1") for line in pressure), pressure)

    until = time.monotonic() + 120
    back = [caller.ask("prompt", 20)]
    while back[-1] not in ("fast", "slow") and time.monotonic() < until:
        back.append(caller.ask("prompt", 20))
    yield check("it returns to own servers when they are free again", back[-1] in ("fast", "slow"), back[-3:])
    yield check("a cloud that said 429 is asked no more", clouds["cheap"].refused == met, f"{met} refusals")

    pages = {target["page"]["engine"] for target in json.loads(caller.operator("/api/status"))["targets"] if target["page"]}
    yield check("the servers' own pages are read", pages == {"llama.cpp"}, pages)


def main():
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="causeway-routing-")))
        good = run(pathlib.Path(sys.argv[1]), stack, folder)
        if not good:
            sys.stderr.write("--- the end of the gateway's log\n" + (folder / "gateway.log").read_text(errors="replace")[-4000:])
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
