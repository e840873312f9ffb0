from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import msgspec
import pytest
import yaml

from nordiq_watch.config.load import find_settings, load_settings
from nordiq_watch.config.schema import Config, Threshold
from nordiq_watch.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    assert load_settings(SHIPPED, {}).config == Config()
    assert yaml.safe_load(SHIPPED.read_text()) == json.loads(msgspec.json.encode(Config()))


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, ""), {}).config == Config()


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {
        "NORDIQ_SERVER__PORT": "9000",
        "NORDIQ_METRICS": "cpu_user_pct, mem_used_pct",
        "NORDIQ_MODELS__KEEP": "3",
        "NORDIQ_WATCH__ENABLED": "false",
        "NORDIQ_DEVICE": "cpu",
        "NORDIQ_RELOAD__CANARY__MAX_DISTANCE": "7.5",
        "HOME": "/root",
    }
    config = load_settings(written(tmp_path, "server: {port: 1, threads: 2}"), environ).config
    assert (config.server.port, config.server.threads) == (9000, 2)
    assert config.metrics == ("cpu_user_pct", "mem_used_pct")
    assert (config.models.keep, config.watch.enabled, config.device) == (3, False, "cpu")
    assert config.reload.canary.max_distance == 7.5


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "models: {dir: m}\nstate: {dir: /var/s}"), {})
    assert settings.models_dir == tmp_path / "m"
    assert settings.state_dir == Path("/var/s")
    assert settings.log_file == tmp_path / "logs" / "inference_daemon.log"


def test_the_key_is_no_setting(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""), {"NORDIQ_API_KEY": "secret"})
    assert settings.api_key == "secret"
    assert "secret" not in repr(settings.config)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"NORDIQ_FOO": "1"}, "NORDIQ_FOO: unknown key 'foo'"),
        ({"NORDIQ_SERVER__FOO": "1"}, "NORDIQ_SERVER__FOO: unknown key 'server.foo'"),
        ({"NORDIQ_DEVICE__X": "1"}, "NORDIQ_DEVICE__X"),
        ({"NORDIQ_METRICS": "a b"}, "NORDIQ_METRICS"),
        ({"NORDIQ_WINDOW__MAX_SERVERS": "many"}, "window.max_servers is 'many'"),
        ({"NORDIQ_WINDOW__MAX_SERVERS": "0"}, "window.max_servers is 0"),
        ({"NORDIQ_SERVER__HOST": "["}, "cannot be read as a value"),
        ({"NORDIQ_LOGS__DIR": "2025-13-45"}, "cannot be read as a value"),
        ({"NORDIQ_LOGS__MAX_MB": ".inf"}, "cannot be read as a value"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(tmp_path: Path, environ: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match="NORDIQ") as caught:
        load_settings(written(tmp_path, "device: cpu"), environ)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: {port: 1}\nlogs: {keep: 1}\nserver: {threads: 2}\n", "'server' stands there twice"),
        ("server:\n  port: 1\n  port: 2\n", "'port' stands there twice in \"<unicode string>\", line 3"),
        ("logs: {max_mb: .inf}", ".inf is not a finite number"),
        ("window: {silent_seconds: .nan}", ".nan is not a finite number"),
        ("logs: {dir: 2025-13-45}", "month must be in 1..12"),
        ('logs: {dir: "a\\0b"}', "the character NUL"),
        ("device: " + "[" * 5000, "recursion"),
        ("server: {1: 2}", "server has a name that cannot be used: expected text"),
        ("1: 2", "the file has a name that cannot be used: expected text"),
        ("server:", "server is None, but: expected a section, got nothing"),
        ("server:\n\tport: 9\n", "'\\t' that cannot start any token"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, text), {})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_merged_in_may_be_written_over(tmp_path: Path) -> None:
    first = "{calm: 1, degraded: 2, warning: 3, critical: 4}"
    text = f"risk: {{thresholds: {{a: &first {first}, b: {{<<: *first, critical: 5}}}}}}"
    thresholds = load_settings(written(tmp_path, text), {}).config.risk.thresholds
    assert thresholds["b"] == Threshold(calm=1, degraded=2, warning=3, critical=5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "risk: {thresholds: {mem_used_pct: {calm: 60, degraded: 90, warning: 85, critical: 95}}}",
            "risk.thresholds.mem_used_pct is 60, 90, 85, 95;",
        ),
        (
            "risk: {profiles: {Database: {mem_used_pct: {calm: 1, degraded: 1, warning: 2, critical: 3}}}}",
            "risk.profiles.Database.mem_used_pct is 1, 1, 2, 3;",
        ),
        (
            "risk: {thresholds: {mem_used_pct: {calm: 60, degraded: 90, warning: 91, critical: 95, x: 1}}}",
            "allowed here: calm, degraded, warning, critical",
        ),
        ("risk: {thresholds: {mem_used_pct: {calm: 60}}}", "`degraded`"),
        ("alerts: {webhook: {url: 'ftp://somewhere'}}", "alerts.webhook.url is 'ftp://somewhere'"),
    ],
)
def test_thresholds_and_alerts_that_make_no_sense_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, text), {})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("calendar", "says"),
    [
        (
            "{zone: Europe/Berln}",
            "training.calendar.zone is 'Europe/Berln', which is not in this machine's tz database",
        ),
        ("{zone: ../../etc/passwd}", "training.calendar.zone is '../../etc/passwd'"),
        ("{holidays: [2026-12-25, christmas]}", "holidays[1] is 'christmas', but: expected a date such as 2026-12-25"),
        ("{holidays: [2026-13-25]}", "month must be in 1..12"),
        ("{holidays: [20261225]}", "holidays[0] is 20261225, but: expected a date such as 2026-12-25"),
    ],
)
def test_a_wrong_zone_or_date_stops_the_start(tmp_path: Path, calendar: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, f"training: {{calendar: {calendar}}}"), {})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dates_are_written_as_dates_or_as_text(tmp_path: Path) -> None:
    text = "training: {calendar: {zone: Europe/Berlin, holidays: [2026-12-25, '2027-01-01']}}"
    calendar = load_settings(written(tmp_path, text), {}).config.training.calendar
    assert (calendar.zone, calendar.holidays) == ("Europe/Berlin", (date(2026, 12, 25), date(2027, 1, 1)))


def test_utc_may_be_written_in_small_letters(tmp_path: Path) -> None:
    config = load_settings(written(tmp_path, "window: {naive_zone: utc}\ntraining: {calendar: {zone: Utc}}"), {}).config
    assert (config.window.naive_zone, config.training.calendar.zone) == ("utc", "Utc")


def test_a_threshold_may_fall_and_may_be_switched_off(tmp_path: Path) -> None:
    text = "risk: {thresholds: {swap_used_pct: null, cpu_idle_pct: {calm: 40, degraded: 9, warning: 5, critical: 2}}}"
    thresholds = load_settings(written(tmp_path, text), {}).config.risk.thresholds
    assert thresholds["swap_used_pct"] is None
    assert thresholds["cpu_idle_pct"] is not None
    assert thresholds["cpu_idle_pct"].falling


def test_without_a_file_the_defaults_hold_here_until_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = find_settings(None, {"NORDIQ_SERVER__PORT": "9000"})
    assert (settings.file, settings.models_dir) == (None, tmp_path / "models")
    assert settings.config.server.port == 9000
    written(tmp_path, "server: {port: 1}")
    settings = find_settings(None, {})
    assert settings.file == Path("config.yaml")
    assert (settings.models_dir, settings.config.server.port) == (tmp_path / "models", 1)


def test_a_link_that_leads_nowhere_is_not_taken_for_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_settings(None, {}).file is None
    (tmp_path / "config.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read"):
        find_settings(None, {})


def test_the_number_of_servers_may_be_left_to_the_memory(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "window: {max_servers: auto}"), {}).config.window.max_servers == "auto"
    settings = load_settings(written(tmp_path, ""), {"NORDIQ_WINDOW__MAX_SERVERS": "auto"})
    assert settings.config.window.max_servers == "auto"
