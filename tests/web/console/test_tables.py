"""The tables that pages carry are the daemon's own."""

from __future__ import annotations

import html
import json
import re
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest
from support.web_world import World

from nordiq_watch.api.console import Tables
from nordiq_watch.api.enums import ReloadOutcome, ReloadTrigger, VersionState
from nordiq_watch.config.quality import QualitySettings
from nordiq_watch.config.schema import Config
from nordiq_watch.web.console import pages
from nordiq_watch.web.console.tables import describe_tables

SCRIPTS = Path(pages.__file__).with_name("static")


@pytest.mark.parametrize("path", ["/", "/models", "/system", "/servers/it%27s%22%3Cb%3E"])
def test_every_page_carries_them(world: World, path: str) -> None:
    page = world.client.get(path).text
    (carried,) = re.findall(r"data-tables='([^']*)'", page)
    assert msgspec.json.decode(html.unescape(carried), type=Tables) == describe_tables(world.services.config)


def test_they_follow_the_config() -> None:
    tables = describe_tables(
        Config(metrics=("cpu_user_pct", "orders"), quality=QualitySettings(horizons_seconds=(600,)))
    )
    assert tables.units == {"cpu_user_pct": "%", "orders": ""}
    assert tables.horizons == (600,)


def test_no_script_repeats_one() -> None:
    """Names of levels, stages and outcomes stand in a list nowhere: words and colours for one of them may."""
    tables = msgspec.to_builtins(describe_tables(Config()))
    for name in ("levels", "stages", "horizons"):
        every = [re.escape(json.dumps(value)) for value in tables[name]]
        copied = re.compile(r"[\s,]+".join(every) + "|" + r"[\s,]+".join(reversed(every)))
        for file in SCRIPTS.glob("*.js"):
            assert not copied.search(file.read_text(encoding="utf-8")), f"{file.name} repeats {name}"


@pytest.mark.parametrize(
    ("script", "name", "words"),
    [
        ("models.js", "TRIGGERS", ReloadTrigger),
        ("models.js", "OUTCOMES", ReloadOutcome),
        ("models.js", "STATES", VersionState),
    ],
)
def test_scripts_have_words_for_each_member_and_for_no_other(script: str, name: str, words: type[StrEnum]) -> None:
    (table,) = re.findall(rf"const {name} = {{(.*?)}};", (SCRIPTS / script).read_text(encoding="utf-8"), re.DOTALL)
    assert set(re.findall(r"(\w+): \"", table)) == set(words)


def test_a_script_shows_every_figure_of_drift() -> None:
    shown = re.findall(r'\["(\w+)", "', (SCRIPTS / "system.js").read_text(encoding="utf-8"))
    assert shown == list(describe_tables(Config()).drift_limits)
