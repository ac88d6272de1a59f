"""Runs a command among real servers, and ends them when it ends.

    with_servers.py [--gateway BINARY [--tls]] [--http2] -- COMMAND...

Starts llama.cpp three times (chat, tool calls, embeddings), a scripted server for bad days and the mock of OpenAI's
API, on free loopback ports. With `--gateway` it puts the gateway before them. The command learns of them by environment
variables, the same ones either way (`tests/clients/settings.py` reads them). `tests/servers/prepare` comes first.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
import moody  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("CAUSEWAY_TEST_CACHE", ROOT / "target" / "test-env")).resolve()
UPSTREAM_KEY = "only-the-gateway-knows-this"
APP_KEY = "cw_test_clients"
SLOW_KEY = "cw_test_slow"
# openai-python's own tests have this key and these models written into them.
SUITE_KEY = "My API Key"
SUITE_MODELS = ["gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small", "model"]
CHAT, TOOLS, EMBEDDINGS = "tiny-chat", "tiny-tools", "all-minilm-l6-v2"
MOODS = ["moody-429", "moody-midstream", "moody-truncated"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", type=pathlib.Path)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--http2", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    # Told to end, it ends what it started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="causeway-clients-")))
        key = UPSTREAM_KEY if options.gateway else APP_KEY
        ports = start_servers(stack, folder, key)
        surroundings = through_gateway(stack, folder, ports, options) if options.gateway else straight(ports)
        if options.http2:
            surroundings["HTTP2"] = "1"
        code = subprocess.run(options.command, env=os.environ | surroundings, check=False).returncode
        if code and (log := folder / "gateway.log").exists():
            sys.stderr.write("--- the end of the gateway's log\n" + log.read_text(errors="replace")[-8000:])
    sys.exit(code)


def start_servers(stack, folder, key):
    python, models = str(CACHE / "venv/bin/python"), CACHE / "models"
    llama = lambda model, mode: [python, str(HERE / "serve_llama.py"), str(models / f"{model}.gguf"), mode, "--key", key]
    # All of them start at once; each then says on which port it listens.
    started = {
        "chat": spawn(stack, folder / "chat.log", llama(CHAT, "chat")),
        "tools": spawn(stack, folder / "tools.log", llama(TOOLS, "chat")),
        "embeddings": spawn(stack, folder / "embeddings.log", llama(EMBEDDINGS, "embeddings")),
    }
    mock_port = free_port()
    spawn(stack, folder / "mock.log", [
        str(CACHE / "node/node_modules/.bin/steady"), "--quiet", "--host", "127.0.0.1", "--port", str(mock_port),
        str(HERE / "openai-openapi.trimmed.yaml"),
    ])  # fmt: skip
    ports = {name: said_port(process, folder / f"{name}.log") for name, process in started.items()}
    wait_for(f"http://127.0.0.1:{mock_port}/models")
    return ports | {"mock": mock_port, "moody": moody.start()}


def straight(ports):
    url = lambda name: f"http://127.0.0.1:{ports[name]}/v1"
    return {
        "THROUGH": "nothing", "API_KEY": APP_KEY,
        "CHAT_BASE_URL": url("chat"), "CHAT_MODEL": CHAT,
        "TOOLS_BASE_URL": url("tools"), "TOOLS_MODEL": TOOLS,
        "EMBEDDINGS_BASE_URL": url("embeddings"), "EMBEDDINGS_MODEL": EMBEDDINGS,
        "MOODY_BASE_URL": url("moody"),
        "TEST_API_BASE_URL": f"http://127.0.0.1:{ports['mock']}",
    }  # fmt: skip


def through_gateway(stack, folder, ports, options):
    data, admin, health = free_port(), free_port(), free_port()
    extra = {}
    if options.tls:
        subprocess.run([ROOT / "certs-example/make-certs", folder / "certs"], check=True, capture_output=True)
        authority = str(folder / "certs/server-ca.pem")
        extra = {"SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority, "CA_FILE": authority}
    (folder / "upstream.key").write_text(UPSTREAM_KEY)
    (folder / "upstream.key").chmod(0o600)
    (folder / "causeway.toml").write_text(configuration(ports, data, admin, health, options.tls))
    spawn(stack, folder / "gateway.log", [str(options.gateway.resolve()), "serve", "--config", str(folder / "causeway.toml")])
    wait_for(f"http://127.0.0.1:{health}/readyz", folder / "gateway.log")
    url = f"http{'s' if options.tls else ''}://127.0.0.1:{data}/v1"
    return extra | {
        "THROUGH": "gateway", "GATEWAY": str(options.gateway.resolve()), "API_KEY": APP_KEY, "ADMIN_URL": f"http://127.0.0.1:{admin}",
        "CHAT_BASE_URL": url, "CHAT_MODEL": CHAT,
        "TOOLS_BASE_URL": url, "TOOLS_MODEL": TOOLS,
        "EMBEDDINGS_BASE_URL": url, "EMBEDDINGS_MODEL": EMBEDDINGS,
        "MOODY_BASE_URL": url, "TEST_API_BASE_URL": url,
    }  # fmt: skip


def configuration(ports, data, admin, health, tls):
    digest = digest_of
    quoted = lambda names: "[" + ", ".join(f'"{name}"' for name in names) + "]"
    certificate = 'tls = { certificate = "certs/server.pem", key = "certs/server-key.pem" }' if tls else ""
    text = f"""
        [listen]
        address = "127.0.0.1:{data}"
        {certificate}
        [admin]
        address = "127.0.0.1:{admin}"
        [health]
        address = "127.0.0.1:{health}"
        [state]
        folder = "state"
        [site.lab]
        country = "DE"
        operator = "DE"
    """
    for name in ("chat", "tools", "embeddings"):
        text += endpoint(name, f"http://127.0.0.1:{ports[name]}/v1", with_key=True)
    text += endpoint("moody", f"http://127.0.0.1:{ports['moody']}/v1")
    text += endpoint("mock", f"http://127.0.0.1:{ports['mock']}")
    for model, place in [(CHAT, "chat"), (TOOLS, "tools"), (EMBEDDINGS, "embeddings"), ("of-another-app", "chat")]:
        text += model_section(model, f"{place}/{model if place != 'chat' else CHAT}")
    for model in MOODS:
        text += model_section(model, f"moody/{model}")
    for model in SUITE_MODELS:
        text += model_section(model, f"mock/{model}")
    text += f"""
        [app.clients]
        team = "testers"
        keys = ["{digest(APP_KEY)}"]
        models = {quoted([CHAT, TOOLS, EMBEDDINGS, *MOODS])}
        [data.clients]
        labels = []
        [app.slow]
        team = "testers"
        keys = ["{digest(SLOW_KEY)}"]
        models = {quoted([CHAT])}
        limits = {{ requests_per_minute = 1 }}
        [data.slow]
        labels = []
        [app.other]
        team = "testers"
        keys = ["{digest("cw_test_other")}"]
        models = ["of-another-app"]
        [data.other]
        labels = []
        [app.suite]
        team = "testers"
        keys = ["{digest(SUITE_KEY)}"]
        models = {quoted(SUITE_MODELS)}
        [data.suite]
        labels = []
        [policy]
        allow = {{ mock = ["keep_state", "fetch_remote", "use_hosted_tool"] }}
    """
    return "\n".join(line.strip() for line in text.splitlines())


def digest_of(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def endpoint(name, url, with_key=False):
    return f"""
        [endpoint.{name}]
        provider = "openai"
        url = "{url}"
        reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
        place = {{ site = "lab" }}
        {'auth = { key = { file = "upstream.key" } }' if with_key else ""}
    """


def model_section(name, target):
    return f"""
        [model."{name}"]
        targets = ["{target}"]
    """


def spawn(stack, log, command):
    """Starts a program that is ended, by its own process id, when the stack is left."""
    process = subprocess.Popen(command, stdout=stack.enter_context(log.open("wb")), stderr=subprocess.STDOUT)
    stack.callback(end, process)
    return process


def end(process):
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def said_port(process, log):
    """The port in the line `listening PORT` that the server prints when it is ready."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("listening "):
                return int(line.split()[1])
        time.sleep(0.05)
    raise SystemExit(f"{log.stem} did not start:\n{log.read_text(errors='replace')[-3000:]}")


def wait_for(url, log=None):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing answered at {url}\n{log.read_text(errors='replace')[-3000:] if log else ''}")


def free_port():
    # Below the range from which the system hands out ports for outgoing connections, so that none of those takes it.
    for port in range(20_000 + os.getpid() % 5_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in given:
                given.add(port)
                return port
    raise SystemExit("no free port below 32000")


given = set()

if __name__ == "__main__":
    main()
