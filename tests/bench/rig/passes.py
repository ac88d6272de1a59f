"""The measurements. Each compares the peers in turn, at the same rate, in the same minute."""

import json
import statistics
import time

from rig import peers, processes

PATH = "/v1/chat/completions"

# Most turns of load before a measurement.
WARM_AT_MOST = 12


class Rig:
    """The parts that every measurement needs."""

    def __init__(self, tools, work, plan, say):
        self.tools = tools
        self.work = work
        self.plan = plan
        self.say = say
        self.proxy_core, self.load_core = processes.cores()
        self.upstream, self.upstream_port = peers.upstream(tools / "upstream", work, self.load_core)
        self.bodies = peers.bodies(work)
        self.ends = None
        self.warnings = []

    def behave(self, first_byte_ms=0, chunks=100, delay_ms=0):
        return json.loads(
            peers.get(self.upstream_port, f"/ctl?first_byte_ms={first_byte_ms}&chunks={chunks}&delay_ms={delay_ms}")[1]
        )

    def seen(self):
        return json.loads(peers.get(self.upstream_port, "/stat")[1])

    def load(self, peer, mode, body, seconds, **options):
        """One run of the load generator against a peer, or against the upstream itself where there is none."""
        port = peer.port if peer else self.upstream_port
        command = [self.tools / "load", mode, "--to", f"127.0.0.1:{port}", "--path", PATH]
        command += ["--body", self.bodies[body], "--seconds", seconds, "--header", f"authorization: Bearer {peers.KEY}"]
        for name, value in options.items():
            command += [f"--{name}", value]
        return json.loads(processes.run_once(command, self.load_core, True, seconds * 3 + 120))

    def warm(self, peer, body, rate):
        """Loads a peer as it will be measured until that opens no further connection to the upstream.

        A peer with several endpoints needs more connections than one with a single upstream, since requests do not fall on them
        evenly, and opens them as it meets that. What it does from then on is what is measured.
        """
        seconds = self.plan["seconds"]
        for _ in range(WARM_AT_MOST):
            before = self.seen()["connections"]
            self.load(peer, "open", body, seconds, rate=rate)
            if self.seen()["connections"] - before == 1:  # the one that asked
                return
        self.warn(f"{peer.name} {body}: connections are still opened after {WARM_AT_MOST} turns")

    def window(self, peer, body, rate, seconds):
        """One window at a fixed rate: CPU of the peer per request and per event, and what the load generator saw."""
        running = [self.upstream] + ([peer.process] if peer else []) + ([self.ends.process] if self.ends else [])
        for process in running:
            process.real_time(True)
        before = (peer.process.cpu_us(), peer.process.cpu_ticks_us()) if peer else (0, 0)
        requests = self.seen()["requests"]
        result = self.load(peer, "open", body, seconds, rate=rate)
        after = (peer.process.cpu_us(), peer.process.cpu_ticks_us()) if peer else (0, 0)
        reached = self.seen()["requests"] - requests
        for process in running:
            process.real_time(False)

        self.check(peer, body, result, reached)
        count = max(1, result["ok"])
        return {
            "cpu_us": (after[0] - before[0]) / count,
            "cpu_ticks_us": (after[1] - before[1]) / count,
            "cpu_us_per_event": (after[0] - before[0]) / max(1, result["events"]),
            "first_byte_us": result["first_byte_us"]["p50"],
            "latency_us_p50": result["latency_us"]["p50"],
            "latency_us_p99": result["latency_us"]["p99"],
            "ok": result["ok"],
            "errors": result["errors"],
            "bytes": result["bytes"],
            "events": result["events"],
            "lag_us_p99": result["lag_us"]["p99"],
        }

    def check(self, peer, body, result, reached):
        """A figure counts only if every request went through, once."""
        name = peer.name if peer else "direct"
        if result["errors"]:
            self.warn(f"{name} {body}: {result['errors']} errors, the first: {result['first_error']}")
        if reached != result["ok"] and not result["errors"]:
            self.warn(f"{name} {body}: {result['ok']} replies but {reached} requests reached the upstream")

    def warn(self, text):
        self.warnings.append(text)
        self.say(f"  ! {text}")


def in_turn(rig, contenders, body, rate, seconds, label):
    """Rounds of windows of every contender in turn, forth and back; per round and name the mean of its two windows.

    Each round has fresh processes: where a process's pages come to lie makes a tenth of its cost, and a ratio of two
    that live as long as the benchmark would have that in it. Forth and back takes out what drifts.
    """
    seen = {name(peer): [] for peer in contenders}
    for number in range(rig.plan["rounds"]):
        order = contenders if number % 2 == 0 else contenders[::-1]
        for peer in order:
            if peer:
                peer.end()
                peer.start(rig.proxy_core)
                rig.warm(peer, body, rate)
        windows = [(name(peer), rig.window(peer, body, rate, seconds)) for peer in [*order, *reversed(order)]]
        for who, rounds in seen.items():
            rounds.append(mean([window for of, window in windows if of == who]))
    for who, rounds in seen.items():
        rig.say(f"  {label:12} {who:9} cpu {median(rounds, 'cpu_us'):8.1f} us/request  p50 {median(rounds, 'latency_us_p50'):7.0f} us")
    return seen


def mean(windows):
    """One window out of several of the same length."""
    return {field: statistics.fmean(window[field] for window in windows) for field in windows[0]}


def unary(rig, contenders):
    """CPU per request at three sizes of prompt."""
    rig.behave()
    return {
        body: in_turn(rig, contenders, body, rig.plan["rates"][body], rig.plan["seconds"], body)
        for body in ("1k", "64k", "1m")
    }


def chunks(rig, contenders):
    """CPU per event of streams whose events are 5 ms apart."""
    rig.behave(first_byte_ms=0, chunks=100, delay_ms=5)
    seen = in_turn(rig, contenders, "stream", rig.plan["rates"]["stream"], rig.plan["seconds"], "chunks")
    for who, windows in seen.items():
        rig.say(f"  {'':12} {who:9} cpu {median(windows, 'cpu_us_per_event'):8.2f} us/event")
    return seen


def encrypted(rig, contenders, ends):
    """The rows of 1 KB and of chunks once more, with TLS on both sides of each peer."""
    ends.start()
    rig.ends = ends
    rig.behave()
    seen = {"1k": in_turn(rig, contenders, "1k", rig.plan["rates"]["1k"], rig.plan["seconds"], "1k, TLS")}
    rig.behave(first_byte_ms=0, chunks=100, delay_ms=5)
    seen["chunks"] = in_turn(rig, contenders, "stream", rig.plan["rates"]["stream"], rig.plan["seconds"], "chunks, TLS")
    rig.ends = None
    return seen


def first_token(rig, contenders):
    """Time to the first byte of a stream, directly and through each peer."""
    rig.behave(first_byte_ms=0, chunks=4, delay_ms=1)
    seen = in_turn(rig, [None, *contenders], "stream", rig.plan["rates"]["first_token"], rig.plan["seconds"], "first token")
    for who, windows in seen.items():
        rig.say(f"  {'':12} {who:9} first byte p50 {median(windows, 'first_byte_us'):6.0f} us")
    return seen


def memory(rig, contenders):
    """Resident memory of a fresh process: idle, and with streams open through it."""
    results = {}
    for peer in contenders:
        peer.end()
        peer.start(rig.proxy_core)
        rig.behave(first_byte_ms=0, chunks=3, delay_ms=1)
        rig.load(peer, "open", "1k", 0.5, rate=100)
        time.sleep(0.5)
        results[peer.name] = {"idle": peer.process.rss_bytes()}
        for count in rig.plan["streams"]:
            # Events come every half a second for longer than the streams are held.
            rig.behave(first_byte_ms=0, chunks=1000, delay_ms=500)
            results[peer.name][str(count)] = held(rig, peer, count)
            wait_for(lambda: rig.seen()["open"] == 0, 10)
        rig.say(f"  memory       {peer.name:9} " + shown_memory(results[peer.name]))
    return results


def held(rig, peer, count):
    """The highest resident memory while `count` streams are open; says so when they were not."""
    command = [rig.tools / "load", "hold", "--to", f"127.0.0.1:{peer.port}", "--path", PATH]
    command += ["--body", rig.bodies["stream"], "--seconds", rig.plan["hold_seconds"], "--connections", count]
    command += ["--header", f"authorization: Bearer {peers.KEY}"]
    load = processes.Process(command, rig.load_core, rig.work / "hold.log")
    opened, peak = 0, 0
    while load.is_running():
        opened = max(opened, rig.seen()["open"])
        peak = max(peak, peer.process.rss_bytes())
        time.sleep(0.1)
    load.end()
    if opened < count:
        rig.warn(f"{peer.name}: only {opened} of {count} streams were open: {load.last_words().strip()}")
    return peak


def ready(rig, contenders):
    """Milliseconds from the start of a process to its first 200, several times."""
    results = {}
    for peer in contenders:
        times = []
        for _ in range(rig.plan["starts"]):
            peer.end()
            times.append(peer.start(rig.proxy_core) * 1000)
        results[peer.name] = times
        rig.say(f"  ready        {peer.name:9} {statistics.median(times):6.1f} ms")
    return results


def name(peer):
    return peer.name if peer else "direct"


def median(windows, field):
    return statistics.median(window[field] for window in windows)


def shown_memory(figures):
    return ", ".join(f"{what}: {size / 2**20:.1f} MiB" for what, size in figures.items())


def wait_for(condition, patience):
    end = time.monotonic() + patience
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
