"""docs/metrics.md, docs/alerts.yml and docs/grafana.json speak of the metrics that there are, and of no others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel
from grafana_foundation_sdk.models.prometheus import Dataquery
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.batches import Sample, make_batch
from support.web_world import KEY, NOW, VERSION, World, judge_memory, take_residuals

from nordiq_watch.api.enums import Check, ReloadOutcome, ReloadState, ReloadTrigger
from nordiq_watch.events import ForecastPublished, ModelRejectedEvent, ModelWentLive, ReloadFinished
from nordiq_watch.records.accuracy import AccuracyKey, AccuracyTotals, BandState, ErrorSums
from nordiq_watch.records.reloads import ReloadRecord, Stage

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(?P<name>[a-z_0-9]+)` \| (?P<kind>[a-z]+) \| (?P<labels>[^|]*) \| [^|]+ \|$", re.M)
PROCESS = "process_"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not here")


@pytest.fixture
def text(world: World) -> str:
    """A scrape in which every metric has a value."""
    world.put_live(forecast_at=NOW)
    world.services.ingest.window.apply(
        make_batch([Sample("ppdb001", int(NOW // 300))], world.services.ingest.window.metrics)
    )
    events = world.services.events
    events.publish(
        ModelWentLive(VERSION, 1, "ab", ReloadTrigger.WATCHER, None, reload_id=1, stages=(Stage("seen", 0.0),))
    )
    events.publish(ModelRejectedEvent(VERSION, ReloadTrigger.API, Check.CANARY, "p50 is NaN", None, reload_id=2))
    record = ReloadRecord(
        1, ReloadTrigger.WATCHER, None, ReloadState.FINISHED, created_at=NOW, outcome=ReloadOutcome.LOADED
    )
    events.publish(ReloadFinished(record))
    events.publish(ForecastPublished(VERSION, 1, 5, 0.2))
    judge_memory(world, 96)
    take_residuals(world)
    key = AccuracyKey(VERSION, "ab" * 32, "cpu_user_pct", 1800)
    world.services.quality.accuracy.all_totals = (
        AccuracyTotals(key, ErrorSums(10, 20.0, 5.0, 8.0, 30.0, 7.5), 0.0, NOW),
    )
    world.services.quality.bands.publish({key: BandState(1.2)})
    world.client.get("/status")
    return world.client.get("/metrics", headers={"X-API-Key": KEY}).text


@pytest.fixture
def families(text: str) -> dict[str, Metric]:
    return {sample_name(family): family for family in text_string_to_metric_families(text)}


def sample_name(family: Metric) -> str:
    """As it is written in a query: counters end in _total, infos in _info."""
    suffix = {"counter": "_total"}.get(family.type, "")
    return family.name if family.name.endswith(suffix) else family.name + suffix


def documented() -> dict[str, re.Match[str]]:
    return {match["name"]: match for match in ROW.finditer((DOCS / "metrics.md").read_text())}


def test_the_page_has_every_metric_and_no_other(families: dict[str, Metric]) -> None:
    own = {name for name in families if not name.startswith(PROCESS) and not name.endswith("_created")}
    assert own == set(documented())


def test_type_and_labels_are_those_of_the_page(families: dict[str, Metric]) -> None:
    for name, family in families.items():
        row = documented().get(name)
        if row is None:
            continue  # of the process, or when a series was created
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        said = set(re.findall(r"`([a-z_0-9]+)`", row["labels"]))
        assert row["kind"] == family.type, name
        assert family.samples, f"{name}: the scrape should have a value of it"
        assert said == labels, name


@promtool
def test_names_follow_the_conventions(text: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@promtool
def test_the_rules_are_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(DOCS / "alerts.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.slow
@promtool
def test_each_rule_fires_when_it_should_and_not_otherwise() -> None:
    stories = Path(__file__).with_name("alerts.test.yml")
    done = subprocess.run(["promtool", "test", "rules", str(stories)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {story["alert_rule_test"][0]["alertname"] for story in yaml.safe_load(stories.read_text())["tests"]}
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
    assert told == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


def expressions() -> list[str]:
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
    published = json.loads((DOCS / "grafana.json").read_text())
    return [
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
        *(target["expr"] for panel in published["panels"] for target in panel.get("targets", ())),
    ]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_there(expression: str, families: dict[str, Metric]) -> None:
    known = set(families) | {f"{name}{end}" for name in families for end in ("_bucket", "_count", "_sum")}
    asked = set(re.findall(r"\b(?:nordiq_watch|process)_[a-z_0-9]+", expression))
    assert asked <= known
    assert asked or expression.startswith("up{")


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert len(rule["annotations"]["summary"]) > 10
            assert len(rule["annotations"]["description"]) > 20


@promtool
def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    """As rules, because promtool checks these."""
    published = json.loads((DOCS / "grafana.json").read_text())
    asked = [target["expr"] for panel in published["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafanas_own_types_know_every_field_of_the_dashboard() -> None:
    """The SDK is generated from Grafana's schema. What its types do not know is gone after a round trip."""
    register_default_plugins()
    published = json.loads((DOCS / "grafana.json").read_text())
    known = json.loads(json.dumps(Dashboard.from_json(published), cls=JSONEncoder))
    assert list(missing_of(published, known)) == []
    panels = [panel for panel in Dashboard.from_json(published).panels or () if isinstance(panel, Panel)]
    kinds = {type(target) for panel in panels for target in panel.targets or ()}
    assert kinds == {Dataquery}


def missing_of(ours: object, known: object, place: str = "") -> Iterator[str]:
    """Places where something of ours is not, or is another, in what the schema keeps."""
    if isinstance(ours, dict) and isinstance(known, dict):
        for name, value in ours.items():
            yield from missing_of(value, known.get(name), f"{place}.{name}")
    elif isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        for number, value in enumerate(ours):
            yield from missing_of(value, known[number], f"{place}[{number}]")
    elif ours != known:
        yield place


def test_the_dashboard_has_a_title_and_places_for_all() -> None:
    published = json.loads((DOCS / "grafana.json").read_text())
    assert published["title"] == "nordiq_watch"
    assert len({panel["id"] for panel in published["panels"]}) == len(published["panels"])
    for panel in published["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or panel["targets"]
