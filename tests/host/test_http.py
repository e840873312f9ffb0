from __future__ import annotations

import errno
import http.client
import json
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from nordiq_watch.config.schema import ServerSettings
from nordiq_watch.errors import ConfigError
from nordiq_watch.host.http import HttpServer
from nordiq_watch.host.http.channel import Channel
from nordiq_watch.host.http.limits import MAX_CONNECTIONS
from nordiq_watch.host.http.listener import why_not_bound

WAIT_SECONDS = 20
ANY_PORT = ServerSettings(port=0, threads=2, max_body_mb=0.01)


def echo_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class SlowApp:
    """Says when a request is in it, and answers when told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.finish = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.entered.set()
        assert self.finish.wait(WAIT_SECONDS)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]


class Running:
    """A server in a thread of its own."""

    def __init__(self, app: Callable[..., Any], settings: ServerSettings = ANY_PORT, **options: Any) -> None:
        self.server = HttpServer(app, settings, **options)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def stopped(self) -> bool:
        self.thread.join(WAIT_SECONDS)
        return not self.thread.is_alive()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=WAIT_SECONDS)


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    servers: list[Running] = []

    def start_one(app: Callable[..., Any] = echo_app, settings: ServerSettings = ANY_PORT, **options: Any) -> Running:
        servers.append(Running(app, settings, **options))
        return servers[-1]

    yield start_one
    for running in servers:
        running.server.stop()
        assert running.stopped()


def who_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", str(len(environ["REMOTE_ADDR"])))])
    return [environ["REMOTE_ADDR"].encode()]


def has_ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6; a container may have the family without any address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.has_dualstack_ipv6()
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_address_of_both_families_is_listened_on_with_two_colons(
    start: Callable[..., Running], address: str
) -> None:
    running = start(who_app, ServerSettings(host="::", port=0, threads=2))
    connection = http.client.HTTPConnection(address, running.server.port, timeout=WAIT_SECONDS)
    connection.request("GET", "/")
    assert connection.getresponse().read().decode() == address


def test_it_answers_on_the_port_that_it_names(start: Callable[..., Running]) -> None:
    running = start()
    connection = running.connect()
    connection.request("POST", "/", body=b"hello")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"hello")
    assert response.headers["Server"] == "nordiq_watch"
    assert running.server.url == f"http://127.0.0.1:{running.server.port}"


def test_connections_queue_before_it_runs() -> None:
    server = HttpServer(echo_app, ANY_PORT)
    early = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_SECONDS)
    early.request("POST", "/", body=b"early")
    thread = threading.Thread(target=server.run)
    thread.start()
    assert early.getresponse().read() == b"early"
    server.stop()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def test_a_taken_port_is_named_with_a_way_out(start: Callable[..., Running]) -> None:
    port = start().server.port
    with pytest.raises(ConfigError) as caught:
        HttpServer(echo_app, ServerSettings(port=port))
    assert str(caught.value) == (
        f"server.host 127.0.0.1, server.port {port}: another program listens there. "
        "Stop it, or set server.port (0 = any free port)."
    )


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("203.0.113.7", "this machine has no such address"),
        ("no-such-host.invalid", "no such host is known"),
        ("a..b", "no such host is known"),
        ("x" * 70, "no such host is known"),
    ],
)
def test_a_host_that_cannot_be_bound_is_named(host: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"server.host {host}, .*{problem}"):
        HttpServer(echo_app, ServerSettings(host=host, port=0))


def test_a_port_that_needs_privileges_is_explained() -> None:
    assert "Ports below 1024" in why_not_bound(errno.EACCES)
    assert "No buffer space" in why_not_bound(errno.ENOBUFS)


def test_stop_answers_the_request_in_flight_first(start: Callable[..., Running]) -> None:
    app = SlowApp()
    running = start(app)
    connection = running.connect()
    connection.request("GET", "/")
    assert app.entered.wait(WAIT_SECONDS)
    running.server.stop()
    wait_until_refused(running.server.port)
    assert running.thread.is_alive()
    app.finish.set()
    assert connection.getresponse().read() == b"done"
    assert running.stopped()


def test_stop_answers_requests_that_wait_for_a_thread(start: Callable[..., Running]) -> None:
    app = SlowApp()
    running = start(app)
    connections = [running.connect() for _ in range(ANY_PORT.threads + 3)]
    for connection in connections:
        connection.request("GET", "/")
    assert app.entered.wait(WAIT_SECONDS)
    running.server.stop()
    app.finish.set()
    assert [connection.getresponse().read() for connection in connections] == [b"done"] * len(connections)
    assert running.stopped()


def test_stop_serves_who_waits_in_the_kernels_queue() -> None:
    server = HttpServer(echo_app, ANY_PORT)
    waiting = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_SECONDS) for _ in range(3)]
    for connection in waiting:
        connection.request("POST", "/", body=b"waits")
    server.stop()
    server.run()
    assert [connection.getresponse().read() for connection in waiting] == [b"waits"] * 3


def test_stop_serves_who_connected_before_it_and_had_not_sent_yet(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nordiq_watch.host.http.server._FRESH_SECONDS", WAIT_SECONDS)
    running = start(grace_seconds=1000)
    sender = socket.create_connection(("127.0.0.1", running.server.port), timeout=WAIT_SECONDS)
    running.server.stop()
    sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlate")
    assert read_to_end(sender).endswith(b"late")
    assert running.stopped()


def test_stop_reads_a_body_that_is_half_sent(start: Callable[..., Running]) -> None:
    running = start()
    sender = socket.create_connection(("127.0.0.1", running.server.port), timeout=WAIT_SECONDS)
    sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
    assert sender.recv(1000).startswith(b"HTTP/1.1 100")  # the header has arrived
    running.server.stop()
    wait_until_refused(running.server.port)
    sender.sendall(b"0123456789")
    assert read_to_end(sender).endswith(b"0123456789")
    assert running.stopped()


def test_stop_does_not_wait_for_an_idle_connection(start: Callable[..., Running]) -> None:
    running = start(grace_seconds=1000)
    connection = running.connect()
    connection.request("POST", "/", body=b"x")
    connection.getresponse().read()
    running.server.stop()
    assert running.stopped()


def test_stop_gives_up_after_the_grace_period(start: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    app = SlowApp()
    running = start(app, grace_seconds=0.05)
    connection = running.connect()
    connection.request("GET", "/")
    assert app.entered.wait(WAIT_SECONDS)
    running.server.stop()
    assert running.stopped()
    assert "1 connections unanswered" in caplog.text
    app.finish.set()


def test_stop_may_be_called_twice_and_after_the_end(start: Callable[..., Running]) -> None:
    running = start()
    running.server.stop()
    running.server.stop()
    assert running.stopped()
    running.server.stop()


def test_a_stopped_servers_port_can_be_bound_again(start: Callable[..., Running]) -> None:
    running = start()
    running.server.stop()
    assert running.stopped()
    again = HttpServer(echo_app, ServerSettings(port=running.server.port))
    again.stop()
    again.run()


def test_a_body_a_little_above_the_limit_still_reaches_the_app(start: Callable[..., Running]) -> None:
    """So that the app's own 413 can be read by the client."""
    connection = start().connect()
    connection.request("POST", "/", body=b"x" * 15_000)
    assert len(connection.getresponse().read()) == 15_000


def test_a_body_far_above_the_limit_is_refused_in_json(start: Callable[..., Running]) -> None:
    sender = socket.create_connection(("127.0.0.1", start().server.port), timeout=WAIT_SECONDS)
    sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    status, body = parse_answer(read_to_end(sender))
    assert (status, body["error"]) == (413, "Request Entity Too Large")
    assert "server.max_body_mb" in body["detail"]


def test_what_is_not_http_is_refused_in_json(start: Callable[..., Running]) -> None:
    sender = socket.create_connection(("127.0.0.1", start().server.port), timeout=WAIT_SECONDS)
    sender.sendall(b"POST / HTTP/1.1\r\nno colon\r\n\r\n")
    status, body = parse_answer(read_to_end(sender))
    assert (status, body) == (400, {"error": "Bad Request", "detail": "Invalid header"})


def wait_until_refused(port: int) -> None:
    """Returns when the listening socket is closed: the server has begun to stop."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS).close()
        except ConnectionError:
            return


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


def parse_answer(answer: bytes) -> tuple[int, dict[str, str]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_headers_and_url_are_bounded_in_json(start: Callable[..., Running]) -> None:
    running = start(echo_app)
    for path, headers in (("/" + "x" * 17_000, {}), ("/", {"X-Filler": "x" * 17_000})):
        connection = running.connect()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 431
        assert "16,384 bytes" in json.loads(answer.read())["detail"]


def read_until_closed(connection: socket.socket) -> bytes:
    connection.settimeout(WAIT_SECONDS)
    return b"".join(iter(lambda: connection.recv(1000), b""))


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nX-A: ", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
def test_who_sends_a_byte_now_and_then_is_cut_off(start: Callable[..., Running], begin: bytes) -> None:
    running = start(echo_app, ServerSettings(port=0, threads=1, request_seconds=0.5))
    with socket.create_connection(("127.0.0.1", running.server.port)) as slow:
        slow.sendall(begin)
        assert read_until_closed(slow) == b""


def test_in_a_crowd_those_who_have_waited_longest_make_room(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nordiq_watch.host.http.limits._CROWDED", 3 / MAX_CONNECTIONS)
    running = start()
    silent = [socket.create_connection(("127.0.0.1", running.server.port)) for _ in range(6)]
    busy = running.connect()
    for connection in silent[:4]:
        while select.select([connection], [], [], 0) == ([], [], []):
            busy.request("POST", "/", body=b"still here")
            assert busy.getresponse().read() == b"still here"
    assert select.select(silent[5:], [], [], 0) == ([], [], [])
    for connection in silent:
        connection.close()


def test_who_waits_for_a_long_answer_is_not_cut_off(start: Callable[..., Running]) -> None:
    app = SlowApp()
    running = start(app, ServerSettings(port=0, threads=1, request_seconds=0.3))
    connection = running.connect()
    connection.request("GET", "/")
    assert app.entered.wait(WAIT_SECONDS)
    with socket.create_connection(("127.0.0.1", running.server.port)) as slow:
        assert read_until_closed(slow) == b""  # by then the first would have been cut off as well
    app.finish.set()
    assert connection.getresponse().read() == b"done"


def test_a_long_answer_reaches_who_reads_slowly(start: Callable[..., Running]) -> None:
    long = b"0123456789" * 1_000_000

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(long)))])
        return [long]

    running = start(app)
    slow, quick = running.connect(), running.connect()
    slow.request("GET", "/")
    response = slow.getresponse()
    got = response.read(1000)
    quick.request("GET", "/")
    assert quick.getresponse().read() == long, "nobody waits for the slow one"
    assert got + response.read() == long


@pytest.mark.parametrize(("sent", "stays"), [({}, True), ({"Connection": "close"}, False)])
def test_a_304_leaves_the_connection_open_unless_the_client_wants_it_closed(
    start: Callable[..., Running], sent: dict[str, Any], stays: bool
) -> None:
    def unchanged(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("304 NOT MODIFIED", [("ETag", '"1"')])
        return []

    connection = start(unchanged).connect()
    connection.request("GET", "/", headers=sent)
    ours = connection.sock
    response = connection.getresponse()
    assert (response.status, response.read(), response.getheader("Connection") != "close") == (304, b"", stays)
    connection.request("GET", "/")
    assert connection.getresponse().status == 304
    assert (connection.sock is ours) == stays


def test_the_loop_rests_while_a_thread_sends(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that the loop waits to write to ends each of its rounds at once: the socket has room."""
    waits_to_write: list[bool] = []
    sending, looked = threading.Event(), threading.Event()

    def watch(server: HttpServer, timeout_seconds: float) -> None:
        if sending.is_set():
            waits_to_write.extend(channel.writable() for channel in server._server.active_channels.values())
            looked.set()
        poll(server, timeout_seconds)

    def send_slowly(channel: Channel, data: bytes, do_close: bool = True) -> int:
        sending.set()
        seen = looked.wait(WAIT_SECONDS)
        sending.clear()
        assert seen, "the loop made no round"
        return send(channel, data, do_close)

    poll, send = HttpServer._poll, Channel.send
    monkeypatch.setattr(HttpServer, "_poll", watch)
    monkeypatch.setattr(Channel, "send", send_slowly)
    connection = start().connect()
    connection.request("POST", "/", body=b"hello")
    assert sending.wait(WAIT_SECONDS)
    with socket.create_connection((connection.host, connection.port)):  # makes the loop look at all connections again
        assert connection.getresponse().read() == b"hello"
    assert waits_to_write
    assert not any(waits_to_write)


def where_from(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    seen = {key: environ.get(key) for key in ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "HTTP_X_FORWARDED_FOR")}
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [(None, ("127.0.0.1", "http")), ("10.1.1.1", ("127.0.0.1", "http")), ("127.0.0.1", ("192.0.2.7", "https"))],
)
def test_forwarded_headers_are_believed_from_the_trusted_proxy_alone(
    start: Callable[..., Running], trusted: str | None, seen: tuple[str, ...]
) -> None:
    running = start(where_from, ServerSettings(port=0, trusted_proxy=trusted))
    connection = running.connect()
    connection.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
    environ = json.loads(connection.getresponse().read())
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == seen
    assert environ["HTTP_X_FORWARDED_FOR"] is None or trusted == "127.0.0.1"


@pytest.mark.parametrize("spelling", ["::ffff:127.0.0.1", "0:0:0:0:0:FFFF:7f00:1"])
def test_the_trusted_proxy_may_be_spelt_otherwise(start: Callable[..., Running], spelling: str) -> None:
    connection = start(where_from, ServerSettings(port=0, trusted_proxy=spelling)).connect()
    connection.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.7"})
    assert json.loads(connection.getresponse().read())["REMOTE_ADDR"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("proto", "scheme"), [("https, https", "https"), ("http,https", "https"), ("https,http", "http")]
)
def test_of_several_proxies_in_a_row_the_trusted_one_is_believed(
    start: Callable[..., Running], proto: str, scheme: str
) -> None:
    running = start(where_from, ServerSettings(port=0, trusted_proxy="127.0.0.1"))
    connection = running.connect()
    sent = {
        "X-Forwarded-For": "192.0.2.7:51514, 10.0.0.1",
        "X-Forwarded-Proto": proto,
        "X-Forwarded-Host": "cdn.example, Watch.Example:443",
    }
    connection.request("GET", "/", headers=sent)
    response = connection.getresponse()
    environ = json.loads(response.read())
    assert response.status == 200
    assert environ["wsgi.url_scheme"] == scheme
    assert environ["REMOTE_ADDR"] == "10.0.0.1"
    assert environ["HTTP_HOST"].lower().startswith("watch.example")


def test_a_forwarded_header_that_cannot_be_understood_is_an_answer_of_its_own(start: Callable[..., Running]) -> None:
    connection = start(where_from, ServerSettings(port=0, trusted_proxy="127.0.0.1")).connect()
    for _ in range(2):  # on one connection
        connection.request("GET", "/", headers={"X-Forwarded-Proto": "ftp"})
        response = connection.getresponse()
        assert response.status == 400
        assert "X-Forwarded-Proto: 'ftp'" in json.loads(response.read())["detail"]
