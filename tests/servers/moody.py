"""A small scripted server for what real servers do only on bad days. The model's name says what it does.

| model             | behaviour                                                                       |
|-------------------|---------------------------------------------------------------------------------|
| `moody-429`       | 429 with `retry-after-ms: 40` until the client's own counter says second retry    |
| `moody-midstream` | some chunks, then an error event, then the end                                    |
| `moody-truncated` | some chunks, then the connection breaks off                                       |
"""

import http.server
import json
import threading


def chunk(text):
    body = {"id": "moody-1", "object": "chat.completion.chunk", "created": 1, "model": "moody"}
    return body | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        {"moody-429": self.busy, "moody-midstream": self.midstream, "moody-truncated": self.truncated}[asked["model"]]()

    def busy(self):
        tries = int(self.headers.get("x-stainless-retry-count", "0"))
        if tries < 2:
            refusal = {"error": {"message": "not now", "type": "moody", "code": None, "param": None}}
            return self.answer(429, refusal, {"retry-after-ms": "40", "retry-after": "1"})
        message = {"role": "assistant", "content": f"after {tries} retries"}
        usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return self.answer(200, {"id": "moody-1", "object": "chat.completion", "created": 1, "model": "moody", "choices": choices, "usage": usage})

    def midstream(self):
        failure = {"error": {"message": "lost its mind", "type": "server_error", "code": 500, "param": None}}
        self.stream([chunk("the "), chunk("ferry "), failure], ended=True)

    def truncated(self):
        self.stream([chunk("the "), chunk("ferry ")], ended=False)

    def answer(self, status, body, headers=None):
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json", "content-length": str(len(raw))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def stream(self, events, ended):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            line = f"data: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if ended:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True


def start():
    """Serves on a free loopback port until the process ends; returns the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
