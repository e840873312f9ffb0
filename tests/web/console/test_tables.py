"""The tables that pages carry are the daemon's own."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from support.web_world import World

from nordiq_watch.cli.admin import GOOD_OUTCOMES
from nordiq_watch.config import Config, Quality
from nordiq_watch.web.console import pages
from nordiq_watch.web.console.tables import describe_tables

SCRIPTS = Path(pages.__file__).with_name("static")


@pytest.mark.parametrize("path", ["/", "/models", "/system", "/servers/it%27s%22%3Cb%3E"])
def test_every_page_carries_them(world: World, path: str) -> None:
    page = world.client.get(path).text
    (carried,) = re.findall(r"data-tables='([^']*)'", page)
    assert json.loads(html.unescape(carried)) == json.loads(json.dumps(describe_tables(world.services.config)))


def test_the_command_line_and_the_console_call_the_same_outcomes_good() -> None:
    outcomes = describe_tables(Config())["outcomes"]
    assert {outcome for outcome, good in outcomes.items() if good} == set(GOOD_OUTCOMES)


def test_they_follow_the_config() -> None:
    tables = describe_tables(Config(metrics=("cpu_user_pct", "orders"), quality=Quality(horizons_seconds=(600,))))
    assert tables["units"] == {"cpu_user_pct": "%", "orders": ""}
    assert tables["horizons"] == (600,)


def test_no_script_repeats_one() -> None:
    """Names of levels, stages and outcomes stand in a list nowhere: words and colours for one of them may."""
    tables = describe_tables(Config())
    for name in ("levels", "stages", "horizons"):
        every = [re.escape(json.dumps(value)) for value in tables[name]]
        copied = re.compile(r"[\s,]+".join(every) + "|" + r"[\s,]+".join(reversed(every)))
        for file in SCRIPTS.glob("*.js"):
            assert not copied.search(file.read_text(encoding="utf-8")), f"{file.name} repeats {name}"
