"""A peer for feed.py: the usual way to take metrics. Flask and waitress as well, and an answer of the same length; each
record becomes a dict of a list in memory, neither checked nor stored.

python feed_peer.py KEY → its URL on stdout
"""

from __future__ import annotations

import json
import socket
import sys
from collections import deque
from typing import Any

from flask import Flask, jsonify, request
from waitress import serve

_KEPT = 500_000  # records
_THREADS = 8


def create_app(key: str) -> Flask:
    app = Flask("peer")
    window: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    @app.post("/feed/data")
    def feed() -> Any:
        if request.headers.get("X-API-Key") != key:
            return jsonify(error="Unauthorized"), 401
        records = json.loads(request.get_data(cache=False))["records"]
        for record in records:
            window.append(record)
        return jsonify(
            status="accepted",
            records_received=len(records),
            tick=1,
            window_size=len(window),
            servers_tracked=0,
            servers_ready=0,
            warmup_complete=False,
        )

    return app


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    serve(create_app(sys.argv[1]), sockets=[listener], threads=_THREADS)
