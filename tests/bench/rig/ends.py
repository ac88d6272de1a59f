"""Where TLS begins and ends for the rows that have it: one nginx on the load's core, whose time nobody counts.

The load generator and the mock upstream speak plain HTTP. What they send to a proxy goes through this on the way there,
and what the proxy sends to its upstream on the way back, so that the proxy has TLS 1.3 on both of its sides.
"""

import subprocess

from rig import peers
from rig.processes import Process

CONFIG = """
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {work}/ends.pid;
error_log {work}/ends-error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {work}/ends-body;
  proxy_temp_path {work}/ends-proxy;
  fastcgi_temp_path {work}/ends-fastcgi;
  uwsgi_temp_path {work}/ends-uwsgi;
  scgi_temp_path {work}/ends-scgi;
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  keepalive_requests 10000000;
  keepalive_timeout 300s;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  upstream plain {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{listen} ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate {work}/end.pem;
    ssl_certificate_key {work}/end.key;
    location / {{ proxy_pass http://plain; }}
  }}
{proxies}
}}
"""

PROXY = """
  upstream {name} {{ server 127.0.0.1:{proxy}; keepalive 4096; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{listen};
    location / {{
      proxy_pass https://{name};
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_name localhost;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {work}/ca.pem;
    }}
  }}
"""

EXTENSIONS = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[end]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:localhost
extendedKeyUsage = serverAuth
"""


class Ends:
    """The two ends: `upstream` is the port with TLS before the mock upstream; `before` gives one before each proxy."""

    def __init__(self, binary, work, upstream, files, core):
        self.binary, self.work, self.files, self.core = binary, work, files, core
        self.plain = upstream
        self.upstream = peers.free_port()
        self.proxies = {}
        self.process = None
        certificates(work)

    def before(self, name, proxy):
        """The plain port whose requests go to the proxy at port `proxy` with TLS."""
        self.proxies[name] = (peers.free_port(), proxy)
        return self.proxies[name][0]

    def start(self):
        proxies = [
            PROXY.format(name=name, proxy=proxy, listen=listen, work=self.work)
            for name, (listen, proxy) in self.proxies.items()
        ]
        config = self.work / "ends.conf"
        config.write_text(
            CONFIG.format(
                work=self.work, files=self.files, upstream=self.plain, listen=self.upstream, proxies="".join(proxies)
            )
        )
        command = [self.binary, "-p", self.work, "-c", config]
        self.process = Process(command, self.core, self.work / "ends.log")

    def end(self):
        if self.process:
            self.process.end()
            self.process = None


def certificates(work):
    """A CA and a certificate of its for 127.0.0.1: `ca.pem`, `end.pem` and `end.key`."""
    (work / "extensions.conf").write_text(EXTENSIONS)
    for name, subject, issuer in (("ca", "/CN=bench CA", []), ("end", "/CN=bench", ["-CA", "ca.pem", "-CAkey", "ca.key"])):
        command = ["openssl", "req", "-x509", "-config", "extensions.conf", "-extensions", name, "-days", "2", "-nodes"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject, *issuer]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stderr.strip()}")
    (work / "end.key").chmod(0o600)
