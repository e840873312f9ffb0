"""A small HTTP server that answers what a test tells it to and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: Any


@dataclass
class StubDaemon:
    """`answers[(method, path)]` is a (status, body) or a list of them, used one by one, the last one for ever after."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def next_answer(self, method: str, path: str) -> tuple[int, Any]:
        answer = self.answers.get((method, path), (404, {"error": "Not found", "detail": path}))
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer


@contextmanager
def serve(stub: StubDaemon, port: int = 0) -> Iterator[StubDaemon]:
    """Answers on a free port, or on `port`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stub.requests.append(Request(self.command, self.path, dict(self.headers), json.loads(body or "null")))
            status, answer = stub.next_answer(self.command, self.path)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", text)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
