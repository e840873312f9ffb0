"""Maintenance and removal of a server, on the console's pages in a real browser and by the command, on a real daemon.

The tests on the pages are one story, each begins where the one before ended. No model is live: the built-in forecast
answers, and alerts are raised on what is measured.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser import PATIENCE_MILLISECONDS, collect_errors, find_faults, open_browser, sign_in
from support.daemon import DaemonProcess, clean_environment, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

METRICS = ("cpu_user_pct", "disk_usage_pct")
INTERVAL_SECONDS, SLOTS = 300, 30
FULL = 99.0


def feed(daemon: DaemonProcess, disks: Mapping[str, float], *, slots: int = 1) -> None:
    now = time.time()
    daemon.feed(
        {
            "timestamp": now - ago * INTERVAL_SECONDS,
            "server_name": name,
            "cpu_user_pct": 20.0 + (ago * 7) % 11,
            "disk_usage_pct": disk,
        }
        for ago in range(slots)
        for name, disk in disks.items()
    )


def alerts(daemon: DaemonProcess) -> set[str]:
    return {alert["server_name"] for alert in daemon.get("/alerts/active")["alerts"]}


def states(daemon: DaemonProcess) -> dict[str, str]:
    return {one["server_name"]: one["state"] for one in daemon.get("/servers")["servers"]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("orders"), metrics=METRICS) as daemon:
        feed(daemon, {"web0": FULL, "web1": 40.0, "rack/2, old": 40.0}, slots=SLOTS)
        wait_until(lambda: alerts(daemon) == {"web0"}, what="the alert of the full disk")
        yield daemon


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, daemon: DaemonProcess) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        sign_in(page, daemon, "/")
        yield page


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refusals are complained of by the browser itself; there is a test of them."""
    if "page" not in request.fixturenames:
        yield
        return
    errors = collect_errors(request.getfixturevalue("page"))
    yield
    assert [error for error in errors if "400 (BAD REQUEST)" not in error] == []


def line(page: Page, name: str) -> Locator:
    return page.locator("#list-body [role=row]").filter(has=page.get_by_role("link", name=name, exact=True))


def order_until(page: Page, when: datetime, reason: str) -> None:
    """when: in this machine's zone, which is the browser's."""
    page.get_by_label("No alert until").fill(f"{when:%Y-%m-%dT%H:%M}")
    page.get_by_label("Reason").fill(reason)
    page.locator("#begin").click()


def test_maintenance_begins_on_the_server_s_page(page: Page, daemon: DaemonProcess) -> None:
    page.locator("#alerts").get_by_role("link", name="web0").click()
    page.locator("#standing").get_by_text("it sends").wait_for()
    order_until(page, datetime.now() + timedelta(days=3), "new disk")
    page.locator("#outcome").get_by_text("It is in maintenance").wait_for()
    page.locator("#standing").get_by_text("no alert of it is raised").wait_for()
    told = page.locator("#standing > div", has=page.get_by_text("Maintenance", exact=True)).inner_text()
    assert f"{datetime.now() + timedelta(days=3):%b}" in told, "days ahead, the day is said"
    assert ": new disk" in told
    assert states(daemon)["web0"] == "maintenance"
    assert find_faults(page) == []


def test_the_fleet_shows_it_and_no_alert(page: Page, daemon: DaemonProcess) -> None:
    page.goto(daemon.url)
    page.get_by_role("heading", name="In maintenance (1)").wait_for()
    told = page.locator("#maintenance li").inner_text()
    assert "web0" in told
    assert ": new disk" in told
    line(page, "web0").get_by_text("maintenance").wait_for()
    assert line(page, "web1").get_by_text("maintenance").count() == 0
    page.locator("#alerts-card").wait_for(state="hidden")
    assert find_faults(page) == []


def test_no_alert_is_raised_meanwhile(page: Page, daemon: DaemonProcess) -> None:
    """That another server's is raised by the same batch says that the batch was judged."""
    feed(daemon, {"web0": FULL, "web2": FULL})
    wait_until(lambda: "web2" in alerts(daemon), what="the other server's alert")
    assert alerts(daemon) == {"web2"}
    page.locator("#alerts li").get_by_role("link", name="web2").wait_for()
    assert page.locator("#alerts li").count() == 1


def test_a_past_end_is_refused_in_the_daemon_s_words_and_changes_nothing(page: Page, daemon: DaemonProcess) -> None:
    before = daemon.get("/servers")["servers"]
    page.goto(f"{daemon.url}/servers/web0")
    page.get_by_role("button", name="End maintenance").wait_for()
    order_until(page, datetime.now() - timedelta(days=1), "too late")
    page.locator("#outcome.reason", has_text="which is past; must be a time to come").wait_for()
    assert [one["maintenance"] for one in daemon.get("/servers")["servers"]] == [one["maintenance"] for one in before]


def test_maintenance_ends_and_what_is_wrong_is_an_alert_again(page: Page, daemon: DaemonProcess) -> None:
    page.get_by_role("button", name="End maintenance").click()
    page.locator("#outcome").get_by_text("Its maintenance has ended").wait_for()
    page.locator("#standing").get_by_text("it sends").wait_for()
    page.get_by_role("button", name="End maintenance").wait_for(state="hidden")
    wait_until(lambda: "web0" in alerts(daemon), what="the alert, again")
    page.goto(daemon.url)
    page.locator("#alerts li").get_by_role("link", name="web0").wait_for()
    page.locator("#maintenance-card").wait_for(state="hidden")


def test_a_server_is_removed_after_a_yes_and_is_gone_everywhere(page: Page, daemon: DaemonProcess) -> None:
    line(page, "rack/2, old").get_by_role("link").click()
    page.get_by_role("button", name="Remove …").click()
    page.keyboard.press("Escape")
    assert "rack/2, old" in states(daemon)
    page.get_by_role("button", name="Remove …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name="Remove rack/2, old?").wait_for()
    assert find_faults(page) == []
    dialog.get_by_role("button", name="Remove").click()
    page.wait_for_url(f"{daemon.url}/")
    line(page, "web1").wait_for()
    assert line(page, "rack/2, old").count() == 0
    assert states(daemon) == {"web0": "live", "web1": "live", "web2": "live"}
    page.goto(f"{daemon.url}/servers/rack%2F2%2C%20old")
    page.get_by_text("Nothing is known of this server").wait_for()


def command(daemon: DaemonProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nordiq_watch", "servers", *arguments],
        env=clean_environment() | {"NORDIQ_URL": daemon.url},
        cwd=daemon.root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_does_the_same_on_a_real_daemon(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, metrics=METRICS) as daemon:
        feed(daemon, {"web0": FULL, "web1": 40.0})
        wait_until(lambda: alerts(daemon) == {"web0"}, what="the alert of the full disk")
        begun = command(daemon, "maintenance", "web0", "--minutes", "90", "--reason", "new disk")
        assert begun.returncode == 0, begun.stderr
        assert begun.stdout.startswith("web0 is in maintenance until 20")
        assert alerts(daemon) == set()
        listed = command(daemon, "--state", "maintenance").stdout.splitlines()
        assert (listed[0], listed[2].split()[:2]) == ("1 server", ["web0", "maintenance"])
        assert listed[2].endswith(": new disk")

        past = command(daemon, "maintenance", "web1", "--until", "2020-01-01T00:00:00Z")
        assert (past.returncode, past.stdout) == (1, "")
        assert "until is 2020-01-01T00:00:00+00:00, which is past; must be a time to come" in past.stderr
        unknown = command(daemon, "maintenance", "web9", "--minutes", "5")
        assert (unknown.returncode, len(unknown.stderr.splitlines())) == (1, 1)
        assert "no server 'web9' is known" in unknown.stderr

        assert command(daemon, "resume", "web0").stdout == "web0 is not in maintenance any more\n"
        wait_until(lambda: alerts(daemon) == {"web0"}, what="the alert, again")
        again = command(daemon, "resume", "web0")
        assert (again.returncode, "'web0' is not in maintenance by an order" in again.stderr) == (1, True)

        removed = command(daemon, "remove", "web0")
        assert removed.stdout.startswith("web0 is forgotten by: window, alerts")
        assert (states(daemon), alerts(daemon)) == ({"web1": "live"}, set())
        assert command(daemon, "remove", "web0").returncode == 1
