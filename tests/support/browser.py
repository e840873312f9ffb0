"""Chromium on the console, as a person uses it. Debian's: `apt-get install chromium`; nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from support.daemon import DaemonProcess

PATIENCE_MILLISECONDS = 30_000


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Skips the test where Playwright or Chromium is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def sign_in(page: Page, daemon: DaemonProcess, path: str = "/", *, key: str | None = None) -> None:
    """Opens a page as a stranger, who is asked for the key (else the daemon's own), and lands on that page."""
    page.goto(daemon.url + path)
    page.get_by_label("API key").fill(key or daemon.key)
    page.keyboard.press("Enter")
    page.wait_for_url(daemon.url + path)


def collect_errors(page: Page) -> list[str]:
    """Fills with whatever the page complains of on the browser's console, from now on."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def find_faults(page: Page) -> list[str]:
    """axe-core's serious and critical faults of what is shown now, with the elements that have them."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {', '.join(node['html'][:120] for node in fault['nodes'][:3])}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
