"""The two that are compared, their configurations, and what they are sent."""

import base64
import hashlib
import json
import pathlib
import random
import socket
import time

from rig.processes import Process

KEY = "cw_" + hashlib.sha256(b"overhead benchmark").hexdigest()
MODEL = "bench"

NGINX = """
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {work}/{name}.pid;
error_log {work}/{name}-error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {work}/{name}-body;
  proxy_temp_path {work}/{name}-proxy;
  fastcgi_temp_path {work}/{name}-fastcgi;
  uwsgi_temp_path {work}/{name}-uwsgi;
  scgi_temp_path {work}/{name}-scgi;
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  keepalive_requests 10000000;
  keepalive_timeout 300s;
  upstream models {{
    server 127.0.0.1:{upstream};
    keepalive 4096;
    keepalive_requests 10000000;
  }}
  server {{
    listen 127.0.0.1:{listen}{tls_listen};
    location / {{
      proxy_pass {scheme}://models;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer upstream-key";
      proxy_buffering off;
{tls_upstream}
    }}
{tls_server}
  }}
}}
"""

NGINX_TLS = {
    "scheme": "https",
    "tls_listen": " ssl",
    "tls_server": """
    ssl_protocols TLSv1.3;
    ssl_certificate {work}/end.pem;
    ssl_certificate_key {work}/end.key;
""",
    "tls_upstream": """
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_name localhost;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {work}/ca.pem;
""",
}
NGINX_PLAIN = {"scheme": "http", "tls_listen": "", "tls_server": "", "tls_upstream": ""}

# Fifty policies: the shipped ones, and one for each of these kinds of findings, as a security team would add them.
SHIPPED = pathlib.Path(__file__).resolve().parents[3] / "policies"
POLICIES = 50
KINDS = """
at_social_security be_national_number bg_personal_number br_cpf ca_sin ch_ahv cn_resident_id cz_birth_number de_social_security
de_tax_id dk_cpr ee_lt_personal_code es_dni es_nie fi_personal_code fr_nir gb_nhs gb_nino gr_amka hr_oib hu_tax_id iban ie_pps
in_aadhaar it_codice_fiscale kr_resident_number lv_personal_code mac_address mx_curp nl_bsn no_birth_number pl_pesel pt_nif ro_cnp
se_personal_number sg_nric
""".split()
POLICY = """
@id("{kind}-in-the-eea")
@owner("benchmark")
@basis("benchmark")
forbid (
  principal,
  action,
  resource is Target
)
when {{ context.findings.contains("{kind}") }}
unless {{ Zone::"EEA".countries.containsAll(resource.processing) }};
"""

CAUSEWAY = """
[listen]
address = "127.0.0.1:{listen}"
max_in_flight = 8192
{tls_listen}
[admin]
address = "127.0.0.1:{admin}"

[health]
address = "127.0.0.1:{health}"

[state]
folder = "{work}/state"

[policy]
folder = "{policies}"

[site.here]
country = "DE"
operator = "DE"
{endpoints}
[model.{model}]
targets = [{targets}]

[app.bench]
team   = "bench"
keys   = ["sha256:{digest}"]
models = ["{model}"]
limits = {{ requests_per_minute = 100_000_000 }}

[data.bench]
labels = []
"""

ENDPOINT = """
[endpoint.gpu-{number}]
provider = "openai"
url      = "{scheme}://127.0.0.1:{upstream}/v1"
reach    = {{ local = {{ within = ["127.0.0.0/8"] }} }}
place    = {{ site = "here" }}
capacity = {{ in_flight = 8192 }}
pool     = {{ max_connections = 8192 }}
auth     = {{ key = {{ env = "BENCH_UPSTREAM_KEY" }} }}
{tls_upstream}
"""

CAUSEWAY_TLS = {
    "scheme": "https",
    "tls_listen": 'tls = {{ certificate = "{work}/end.pem", key = "{work}/end.key" }}\n',
    "tls_upstream": 'http2    = "off"\ntls      = {{ ca = "{work}/ca.pem" }}',
}
CAUSEWAY_PLAIN = {"scheme": "http", "tls_listen": "", "tls_upstream": ""}


class Peer:
    """A proxy that can be started: its command, where it listens, and what says that it is ready."""

    def __init__(self, name, command, port, ready, log, environment=None):
        self.name = name
        self.command = command
        self.port = port
        self.ready_at = ready
        self.log = log
        self.environment = environment
        self.process = None

    def start(self, core):
        """Starts it and returns the seconds until it is ready."""
        self.process = Process(self.command, core, self.log, self.environment)
        wait_until_ready(self.process, *self.ready_at)
        return time.monotonic() - self.process.started

    def end(self):
        if self.process:
            self.process.end()
            self.process = None


def nginx(binary, work, upstream, files, name="nginx", ends=None):
    """nginx as a plain reverse proxy; under the other's name it takes the other's place, which tries the rig.

    With `ends` it has TLS on both sides, and is asked through them.
    """
    port = free_port()
    config = work / f"{name}{'-tls' if ends else ''}.conf"
    tls = {field: text.format(work=work) for field, text in (NGINX_TLS if ends else NGINX_PLAIN).items()}
    upstream = ends.upstream if ends else upstream
    config.write_text(NGINX.format(work=work, name=name, upstream=upstream, listen=port, files=files, **tls))
    command = [binary, "-p", work, "-c", config]
    asked = ends.before(name, port) if ends else port
    return Peer(name, command, asked, (asked, "/stat"), work / f"{name}.log")


def policies(folder):
    """Writes them into `folder`, where they are not yet."""
    if folder.exists():
        return
    folder.mkdir()
    shipped = [path.read_text() for path in sorted(SHIPPED.glob("*.cedar"))]
    missing = POLICIES - sum(text.count("@id(") for text in shipped)
    shipped.append("".join(POLICY.format(kind=kind) for kind in KINDS[:missing]))
    for number, text in enumerate(shipped):
        (folder / f"{number}.cedar").write_text(text)
    assert sum(path.read_text().count("@id(") for path in folder.glob("*.cedar")) == POLICIES


def causeway(binary, work, upstream, ends=None):
    """Causeway; with `ends` it has TLS on both sides, and is asked through them."""
    port, admin, health = free_port(), free_port(), free_port()
    numbers = range(1, 4)
    config = work / f"causeway{'-tls' if ends else ''}.toml"
    policies(work / "policies")
    tls = {field: text.format(work=work) for field, text in (CAUSEWAY_TLS if ends else CAUSEWAY_PLAIN).items()}
    at_upstream = {"upstream": ends.upstream if ends else upstream, "scheme": tls["scheme"], "tls_upstream": tls["tls_upstream"]}
    config.write_text(
        CAUSEWAY.format(
            work=work,
            policies=work / "policies",
            listen=port,
            admin=admin,
            health=health,
            model=MODEL,
            endpoints="".join(ENDPOINT.format(number=number, **at_upstream) for number in numbers),
            targets=", ".join(f'"gpu-{number}/bench-model"' for number in numbers),
            digest=hashlib.sha256(KEY.encode()).hexdigest(),
            tls_listen=tls["tls_listen"],
        )
    )
    command = [binary, "serve", "--config", config, "--readiness-lead", "0"]
    environment = {"BENCH_UPSTREAM_KEY": "upstream-key"}
    asked = ends.before("causeway", port) if ends else port
    return Peer("causeway", command, asked, (health, "/readyz"), work / "causeway.log", environment)


def bare(binary, work, upstream):
    """The least that a gateway on hyper does, in Causeway's place."""
    port = free_port()
    command = [binary, "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{upstream}", "--key", KEY]
    return Peer("causeway", command, port, (port, "/readyz"), work / "bare.log")


def upstream(binary, work, core):
    """Starts the mock upstream and gives its process and port."""
    port = free_port()
    process = Process([binary, "--listen", f"127.0.0.1:{port}"], core, work / "upstream.log")
    wait_until_ready(process, port, "/stat")
    return process, port


def bodies(work):
    """Writes the request bodies; returns their paths by name."""
    words = random.Random(7)
    vocabulary = "claim report damage water storm roof policy holder letter invoice date amount paid open note".split()

    def text(length):
        spoken = ""
        while len(spoken) < length:
            spoken += words.choice(vocabulary) + " "
        return spoken[:length]

    def message(content, **more):
        body = {"model": MODEL, "messages": [{"role": "system", "content": "Be brief."}, content], "max_tokens": 256, **more}
        return json.dumps(body, separators=(",", ":"))

    def user(content):
        return {"role": "user", "content": content}

    image = base64.b64encode(words.randbytes(760_000)).decode()
    parts = [
        {"type": "text", "text": "What is on this picture?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
    ]
    written = {
        "1k": message(user(text(900))),
        "64k": message(user(text(64_000))),
        "1m": message(user(parts)),
        "stream": message(user(text(900)), stream=True),
    }
    paths = {}
    for name, body in written.items():
        paths[name] = work / f"body-{name}.json"
        paths[name].write_text(body)
    return paths


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path, patience=5.0):
    """A GET as plain as can be: `urllib` alone takes longer than what is timed here. Gives status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        connection.settimeout(patience)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def wait_until_ready(process, port, path, patience=30):
    """Asks every millisecond until the answer is 200."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if not process.is_running():
            break
        try:
            if get(port, path)[0] == 200:
                return
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.001)
    raise RuntimeError(f"{process.command[0]} is not ready at port {port}:\n{process.last_words()}")
