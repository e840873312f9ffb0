"""The console in a real browser on the real daemon. The tests are one story, each begins where the one before ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest
from support.browser import PATIENCE_MILLISECONDS, collect_errors, find_faults, open_browser, sign_in
from support.daemon import DaemonProcess, free_port, wait_until
from support.models import ENCODER, METRICS, drop_model

from nordiq_watch.api.enums import Role
from nordiq_watch.security.key_file import add_entry

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

FIRST, SECOND, BROKEN = "tft_model_20250130_143000", "tft_model_20250131_143000", "tft_model_20250201_143000"
PAGES = ("/", "/models", "/system", "/servers/ppdb001")
INTERVAL_SECONDS = 300
PARTS_OF_A_TIME = 6
"""Stops of the Tab key in a field for a time, beside the first: day, year, hour, minute, half of the day, calendar."""


def short(name: str) -> str:
    return name.removeprefix("tft_model_")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def daemon(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """On a port that stays the same over a restart, as an open page needs it."""
    sections: dict[str, Any] = {"server": {"port": free_port()}, "watch": {"settle_seconds": 0.2}}
    with DaemonProcess(tmp_path_factory.mktemp("console"), metrics=METRICS, **sections) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def page(browser: Browser, daemon: DaemonProcess) -> Iterator[Page]:
    """One page for the whole story, signed in; whatever it complains of fails the test that made it complain."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        sign_in(page, daemon, "/models")
        yield page


@pytest.fixture(autouse=True)
def no_complaints(page: Page) -> Iterator[None]:
    errors = collect_errors(page)
    yield
    assert errors == []


def order(page: Page, button: str, *, yes: str) -> None:
    page.get_by_role("button", name=button).click()
    page.get_by_role("dialog").get_by_role("button", name=yes).click()


def row(page: Page, name: str) -> Locator:
    return page.locator("#versions tbody tr").filter(has_text=short(name))


def test_a_wrong_key_is_told_so(browser: Browser, daemon: DaemonProcess) -> None:
    with browser.new_context() as context:
        stranger = context.new_page()
        stranger.goto(daemon.url)
        stranger.get_by_label("API key").fill("guess")
        stranger.keyboard.press("Enter")
        stranger.get_by_role("alert").get_by_text("not a key of this daemon").wait_for()
        assert find_faults(stranger) == []


def test_an_empty_daemon_says_what_to_do_first(page: Page) -> None:
    page.get_by_text("nordiq-watch train --dataset").first.wait_for()
    page.get_by_text("No model is live yet").wait_for()


def test_a_dropped_model_goes_live_without_a_touch(page: Page, daemon: DaemonProcess) -> None:
    page.evaluate("window.untouched = true")
    now = int(time.time()) // INTERVAL_SECONDS * INTERVAL_SECONDS
    daemon.feed(
        [
            {
                "timestamp": now - back * INTERVAL_SECONDS,
                "server_name": name,
                "cpu_user_pct": 40 + back,
                "mem_used_pct": 60,
            }
            for back in range(ENCODER)
            for name in ("ppdb001", "ppml001")
        ]
    )
    for name in (FIRST, SECOND):
        drop_model(daemon.models, name)
        page.locator("#live").get_by_text(short(name)).wait_for()
    page.locator("#live-chip").get_by_text(short(SECOND)).wait_for()
    page.locator("#progress [data-state=done]").get_by_text("canary").wait_for()
    assert page.locator("#notices .notice").count() == 0
    assert page.evaluate("window.untouched")


def test_a_reload_is_confirmed_and_followed(page: Page) -> None:
    page.get_by_role("button", name="Reload latest").click()
    page.keyboard.press("Escape")
    assert page.locator("#timeline li").count() == 2
    order(page, "Reload latest", yes="Reload latest")
    page.locator("#outcome", has_text="was live already").wait_for(state="attached")


def test_a_named_version_is_pinned_until_it_is_unpinned(page: Page) -> None:
    order(page, f"Load {short(FIRST)}", yes="Load and pin")
    page.locator("#live").get_by_text("pinned", exact=True).wait_for()
    row(page, FIRST).get_by_text("live", exact=True).wait_for()
    order(page, "Unpin", yes="Unpin")
    row(page, SECOND).get_by_text("live", exact=True).wait_for()
    assert page.get_by_role("button", name="Unpin").count() == 0


def test_rolling_back_sets_the_bad_one_aside(page: Page) -> None:
    order(page, "Roll back", yes="Roll back")
    row(page, FIRST).get_by_text("live", exact=True).wait_for()
    row(page, SECOND).get_by_text("quarantined").wait_for()


def test_a_broken_version_says_why_in_words(page: Page, daemon: DaemonProcess) -> None:
    drop_model(daemon.models, BROKEN, shift=500.0)
    row(page, BROKEN).get_by_text("rejected").wait_for()
    row(page, BROKEN).get_by_text("cpu_user_pct is forecast from").wait_for()
    page.locator("#progress").get_by_text(f"{short(FIRST)} goes on answering").wait_for()
    assert page.locator("#progress [data-state=failed] .name").text_content() == "canary"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_serious_fault(
    page: Page, daemon: DaemonProcess, path: str, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(daemon.url + path)
    page.locator("main h1").wait_for()
    page.locator("#live-chip[data-state=live]").wait_for()
    page.locator("[data-loading]").wait_for(state="detached")
    assert find_faults(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_walked_with_the_keyboard(page: Page, daemon: DaemonProcess, path: str) -> None:
    page.goto(daemon.url + path)
    page.locator("#live-chip[data-state=live]").wait_for()
    page.locator("[data-loading]").wait_for(state="detached")
    reachable = page.evaluate(
        "[...document.querySelectorAll('a[href], button:not(:disabled), input, select, [tabindex=\"0\"]')]"
        ".filter((element) => element.checkVisibility() && !element.closest('dialog')).length"
    )
    parts = PARTS_OF_A_TIME * page.locator("input[type=datetime-local]").count()
    reached: list[str] = []
    while len(set(reached)) < reachable and len(reached) < reachable + parts:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
    assert len(set(reached)) == reachable, reached
    assert "skip" in reached[0]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone(page: Page, daemon: DaemonProcess, path: str) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto(daemon.url + path)
    page.locator("#live-chip[data-state=live]").wait_for()
    page.locator("[data-loading]").wait_for(state="detached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_fleet_is_searched_and_leads_to_a_server(page: Page, daemon: DaemonProcess) -> None:
    page.goto(daemon.url)
    rows = page.locator("#list-body [role=row]")
    rows.nth(1).wait_for()
    page.get_by_label("Search").fill("database")
    rows.nth(1).wait_for(state="detached")
    rows.get_by_role("link", name="ppdb001").click()
    page.locator("#charts .js-plotly-plot").nth(1).wait_for()
    assert page.locator("#numbers tbody tr").count() == len(METRICS)
    page.get_by_role("img", name="CPU user: 40.0 % now").wait_for()
    page.get_by_text("What makes the difference").wait_for()
    page.locator("#attention.js-plotly-plot").wait_for()


def test_a_server_that_nobody_knows_is_told_so(page: Page, daemon: DaemonProcess) -> None:
    page.goto(daemon.url + "/servers/nobody")
    page.get_by_text("nordiq-watch agent").wait_for()


def test_the_system_shows_what_came_in_and_the_log(page: Page, daemon: DaemonProcess) -> None:
    page.goto(daemon.url + "/system")
    page.locator("#log li", has_text=f"{BROKEN} was not loaded").wait_for()
    page.get_by_label("only warnings and errors").check()
    page.locator("#log li", has_text="watching").wait_for(state="detached")
    page.get_by_text("2 of 2 servers ready").wait_for()
    headers = {"X-API-Key": daemon.key, "User-Agent": "Telegraf/1.33.0"}
    metric = {"name": "redis", "tags": {"host": "ppdb001"}, "fields": {"clients": 3}, "timestamp": time.time()}
    assert daemon.request("POST", "/feed/telegraf", json={"metrics": [metric]}, headers=headers).ok
    told = page.locator("#collectors tbody tr").filter(has_text="Telegraf/1.33.0")
    told.get_by_text("none of 1 series is known").wait_for()
    told.get_by_text("redis_clients").wait_for()
    assert page.locator("#collectors tbody tr").filter(has_text="json").count() == 1
    assert find_faults(page) == []


def test_a_reading_key_sees_everything_and_is_offered_nothing_to_change(
    browser: Browser, daemon: DaemonProcess
) -> None:
    key = add_entry(daemon.root / ".nordiq_key", "dashboard", Role.READ, created="now")
    daemon.signal(signal.SIGHUP)
    header = {"X-API-Key": key}
    wait_until(lambda: daemon.request("GET", "/admin/models", headers=header).ok, what="the new key to hold")
    with browser.new_context() as context:
        reader = context.new_page()
        errors = collect_errors(reader)
        sign_in(reader, daemon, "/models", key=key)
        row(reader, FIRST).get_by_text("live", exact=True).wait_for()
        assert reader.get_by_role("button", name="Roll back").count() == 0
        assert reader.get_by_role("button", name="Load").count() == 0
        reader.goto(daemon.url + "/system")
        reader.get_by_text("2 of 2 servers ready").wait_for()
        assert errors == []


def test_the_page_says_that_the_daemon_is_away(browser: Browser, daemon: DaemonProcess, page: Page) -> None:
    with browser.new_context() as context:
        watcher = context.new_page()
        sign_in(watcher, daemon, "/models")
        watcher.locator("#live-chip[data-state=live]").wait_for()
        page.goto("about:blank")  # the page of the story would complain that nobody answers
        daemon.kill()
        watcher.get_by_text("The daemon does not answer").wait_for()
        assert watcher.locator("#live").get_by_text(short(FIRST)).is_visible()
        daemon.start()
        watcher.get_by_label("API key").wait_for()  # sessions do not outlive the daemon


def test_whoever_signs_out_is_out(browser: Browser, daemon: DaemonProcess) -> None:
    with browser.new_context() as context:
        visitor = context.new_page()
        sign_in(visitor, daemon, "/models")
        visitor.get_by_role("button", name="Sign out").click()
        visitor.get_by_label("API key").wait_for()
        visitor.goto(daemon.url + "/models")
        visitor.get_by_label("API key").wait_for()
