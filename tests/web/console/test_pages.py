"""The console's doors: who gets in, what a session may do, what a browser is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.web_world import FEED_KEY, KEY, READ_KEY, ApiClient, World

from nordiq_watch.log_throttle import LINES_PER_MINUTE
from nordiq_watch.web.auth import CONSOLE_HEADER
from nordiq_watch.web.console.words import WORDS
from nordiq_watch.web.sessions import SESSION_COOKIE

PAGES = ("/", "/models", "/system", "/glossary", "/servers/ppdb001")
OWN = {CONSOLE_HEADER: "1", "Origin": "http://localhost"}


@pytest.fixture
def visitor(world: World) -> FlaskClient:
    """A browser that has signed in."""
    client = ApiClient(world.app)
    answer = client.post("/sign-in", data={"key": KEY}, headers={"Origin": "http://localhost"})
    assert answer.status_code == 303
    return client


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_asked_to_sign_in(world: World, path: str) -> None:
    answer = world.stranger.get(path)
    assert (answer.status_code, answer.location) == (303, f"/sign-in?next={path}")


@pytest.mark.parametrize("path", PAGES)
def test_whoever_signed_in_sees_the_pages(visitor: FlaskClient, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_cookie_is_for_this_site_and_not_for_scripts(world: World) -> None:
    answer = world.stranger.post("/sign-in", data={"key": KEY})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert (
        "Secure"
        in world.stranger.post("/sign-in", data={"key": KEY}, base_url="https://localhost").headers["Set-Cookie"]
    )
    assert KEY not in cookie


@pytest.mark.parametrize("key", ["", "guess", KEY + "x"])
def test_a_wrong_key_gets_no_cookie(world: World, key: str) -> None:
    answer = world.stranger.post("/sign-in", data={"key": key})
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("link", "place"),
    [
        ("/models", "/models"),
        ("/servers/a?b=c", "/servers/a?b=c"),
        ("https://elsewhere.example", "/"),
        ("//elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("/models\r\nSet-Cookie: x=y", "/"),
    ],
)
def test_the_sign_in_leads_to_no_other_site(world: World, link: str, place: str) -> None:
    answer = world.stranger.post("/sign-in", query_string={"next": link}, data={"key": KEY})
    assert answer.location == place


def test_a_session_reads_the_api(visitor: FlaskClient) -> None:
    assert visitor.get("/admin/models").status_code == 200


@pytest.mark.parametrize(("key", "offered"), [(KEY, True), (READ_KEY, False)])
def test_orders_about_a_server_are_offered_to_admins_alone(world: World, key: str, offered: bool) -> None:
    client = ApiClient(world.app)
    client.post("/sign-in", data={"key": key})
    page = client.get("/servers/ppdb001").text
    assert ('<form id="orders"' in page, "sees and does not change" in page) == (offered, not offered)
    assert client.delete("/servers/nobody", headers=OWN).status_code == (404 if offered else 403)


def test_an_order_needs_the_console_s_own_page(visitor: FlaskClient, world: World) -> None:
    world.reloads.outcome = {"outcome": "unchanged"}
    assert visitor.post("/admin/reload-model", headers=OWN).status_code == 200
    assert visitor.post("/admin/reload-model").status_code == 403
    elsewhere = OWN | {"Origin": "https://elsewhere.example"}
    assert visitor.post("/admin/reload-model", headers=elsewhere).status_code == 403
    assert len(world.reloads.jobs) == 1


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://watch.example", "Watch.Example"),
        ("https://watch.example", "watch.example:443"),
        ("http://watch.example", "watch.example:80"),
        ("http://watch.example:8000", "WATCH.example:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_page_of_this_site_is_known_however_a_proxy_writes_its_host(world: World, origin: str, host: str) -> None:
    answer = world.stranger.post("/sign-in", data={"key": KEY}, headers={"Origin": origin, "Host": host})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "origin",
    ["https://elsewhere.example", "http://localhost:1", "https://localhost:80", "null", "http://[", "", "//localhost"],
)
def test_a_page_of_another_site_cannot_sign_anybody_in(world: World, origin: str) -> None:
    answer = world.stranger.post("/sign-in", data={"key": KEY}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_pages_of_other_sites_cannot_fill_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3 * LINES_PER_MINUTE):
        world.stranger.post("/sign-in", data={"key": KEY}, headers={"Origin": "null"})
    assert 0 < caplog.text.count("refused a request") < 3 * LINES_PER_MINUTE


def test_whoever_signs_out_is_a_stranger(visitor: FlaskClient) -> None:
    token = visitor.get_cookie(SESSION_COOKIE)
    assert token is not None
    assert visitor.post("/sign-out", headers=OWN).status_code == 204
    visitor.set_cookie(SESSION_COOKIE, token.value)
    assert visitor.get("/admin/models").status_code == 401


def test_pages_and_files_load_nothing_from_elsewhere(visitor: FlaskClient) -> None:
    for path in (*PAGES, "/sign-in"):
        text = visitor.get(path).text
        assert "default-src 'none'" in visitor.get(path).headers["Content-Security-Policy"]
        assert re.findall(r'(?:src|href|action)="(?!/)', text.replace('href="#', "")) == []
        assert not re.search(r"<script(?![^>]*\ssrc=)| style=|\son[a-z]+=", text)
    for path in re.findall(r'(?:src|href)="(/console/[^"#]+)', visitor.get("/models").text):
        assert visitor.get(path).status_code == 200


def test_the_charts_come_from_the_installed_package(visitor: FlaskClient, world: World) -> None:
    match = re.search(r'data-charts="([^"]+)"', visitor.get("/").text)
    assert match is not None
    answer = visitor.get(match[1])
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "immutable" in answer.headers["Cache-Control"]
    assert visitor.get("/charts/0.0.0.js").status_code == 404
    assert world.stranger.get(match[1]).status_code == 303


def test_a_reading_key_sees_and_is_offered_nothing_to_change(world: World) -> None:
    reader = ApiClient(world.app)
    assert reader.post("/sign-in", data={"key": READ_KEY}).status_code == 303
    page = reader.get("/models").text
    assert "Your key (reader) sees and does not change" in page
    assert 'data-order="rollback"' not in page
    assert 'id="log"' not in reader.get("/system").text
    assert reader.post("/admin/rollback", headers=OWN).status_code == 403
    assert reader.get("/view/log").status_code == 403


def test_a_feeding_key_does_not_get_in(world: World) -> None:
    answer = world.stranger.post("/sign-in", data={"key": FEED_KEY})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_everything_of_a_page_stays_under_the_path_of_the_proxy(world: World) -> None:
    visitor, behind = ApiClient(world.app), {"base_url": "http://localhost/nordiq"}
    assert visitor.get("/models", **behind).location == "/nordiq/sign-in?next=/models"
    answer = visitor.post("/sign-in?next=/models", data={"key": KEY}, **behind)
    assert answer.location == "/nordiq/models"
    assert "Path=/nordiq" in answer.headers["Set-Cookie"].split("; ")
    page = visitor.get("/models", **behind).text
    addresses = re.findall(r'(?:href|src|data-charts)="(/[^"]*)"', page)
    assert len(addresses) > 5
    assert [address for address in addresses if not address.startswith("/nordiq/")] == []
    assert 'data-root="/nordiq"' in page


def test_a_prefix_that_the_config_does_not_know_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        world.stranger.get("/health", headers={"X-Forwarded-Prefix": "/nordiq/"})
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "a proxy says that it has this daemon under '/nordiq' (X-Forwarded-Prefix), but server.url_prefix is ''"
    ]


def test_every_page_leads_to_the_words_and_the_documentation_has_them_too(visitor: FlaskClient) -> None:
    page = visitor.get("/glossary").text
    documented = (Path(__file__).parents[3] / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert len(WORDS) == 12
    for word, meaning in WORDS:
        assert f"<dt>{word}</dt><dd>{meaning}</dd>" in page
        assert f"| {word} | {meaning} |" in documented
    for path in PAGES:
        assert 'href="/glossary"' in visitor.get(path).text
