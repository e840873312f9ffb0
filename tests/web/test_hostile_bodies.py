"""Bodies that are made to break a parser are answered like any other that cannot be read."""

from __future__ import annotations

import pytest
from support.web_world import World

DEEP = 100_000
BODIES = {
    "open lists": b"[" * DEEP,
    "open objects": b'{"a":' * DEEP,
    "lists for records": b'{"records":' + b"[" * DEEP,
    "a deep record": b'{"records":[{"x":' + b"[" * DEEP + b"]" * DEEP + b"}]}",
    "a deep metric": b'{"metrics":[{"x":' + b"[" * DEEP + b"]" * DEEP + b"}]}",
    "a deep name": b'{"model_path":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "an endless number": b'{"records":[{"server_name":"a","cpu_user_pct":1,"timestamp":' + b"9" * 5000 + b"}]}",
    "an infinite number": b'{"records":[{"server_name":"a","cpu_user_pct":1,"timestamp":1e999}]}',
    "half a surrogate": rb'{"records":[{"server_name":"\ud800","cpu_user_pct":1,"timestamp":1}]}',
    "no UTF-8": b'{"model_path":"\xff\xfe"}',
    "one key twice": b'{"model_path":"a","model_path":"../../etc"}',
}


@pytest.mark.parametrize("path", ["/feed/data", "/feed/telegraf", "/feed/prometheus", "/admin/reload-model"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_it_is_refused_with_words(world: World, path: str, body: bytes) -> None:
    answer = world.client.post(path, data=body)
    assert answer.status_code in (400, 415, 422), answer.text
    assert answer.json["error"]
    assert len(answer.text) < 2000
    assert world.desk.jobs == []
