"""Takes the pictures of the documentation: `make screenshots`. They show what `nordiq-watch demo` leaves running.

Needs Chromium (Debian: apt-get install chromium) and about two minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
PATIENCE_SECONDS = 300
SIZES = {"": (1280, 960), "-phone": (390, 844)}
Scheme = Literal["light", "dark"]
SHOTS: tuple[tuple[str, str, Scheme, str], ...] = (
    ("fleet", "/", "light", ""),
    ("fleet", "/", "dark", ""),
    ("models", "/models", "light", ""),
    ("models", "/models", "dark", "-phone"),
    ("server", "/servers/ppapi001", "dark", ""),
    ("server", "/servers/ppapi001", "light", "-phone"),
    ("system", "/system", "light", ""),
)
"""Name, page, colours and size of each picture."""


def main() -> None:
    chromium = shutil.which("chromium") or sys.exit(
        "error: chromium is not installed (Debian: apt-get install chromium)"
    )
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nordiq-pictures-") as place:
        folder = Path(place) / "demo"
        demo = subprocess.Popen(
            [sys.executable, "-m", "nordiq_watch", "demo", "--dir", str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            url = wait_for_address(demo)
            break_a_version(folder / "models")
            key = (folder / ".nordiq_key").read_text().splitlines()[0].split()[0]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                for shot in SHOTS:
                    take(browser, url, key, *shot)
                browser.close()
        finally:
            demo.terminate()
            demo.wait(60)


def wait_for_address(demo: subprocess.Popen[str]) -> str:
    """Where the demo's daemon serves, once all is shown."""
    assert demo.stdout is not None
    address = ""
    for line in demo.stdout:
        match = re.search(r"The daemon is at (http://\S+?);", line)
        address = match[1] if match else address
        if "Running until Ctrl-C" in line:
            return address
    sys.exit("error: the demo ended before its time")


def break_a_version(models: Path) -> None:
    """A newer version whose weights are cut off, so that the pictures show how that looks."""
    newest = max(models.glob("tft_model_*"))
    broken = models / "tft_model_20991231_235959"
    shutil.copytree(newest, models / ".copy")
    weights = models / ".copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4096])
    (models / ".copy").rename(broken)
    time.sleep(3)


def take(browser: Browser, url: str, key: str, name: str, path: str, scheme: Scheme, size: str) -> None:
    width, height = SIZES[size]
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{url}/sign-in")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/")
        page.goto(url + path)
        settle(page)
        page.screenshot(path=PICTURES / f"{name}{size}-{scheme}.png")
        print(f"docs/pictures/{name}{size}-{scheme}.png")


def settle(page: Page) -> None:
    """Until all that the page asked for is drawn."""
    page.wait_for_load_state("networkidle")
    page.locator("[data-loading]").wait_for(state="detached")
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    main()
