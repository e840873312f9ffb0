from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.models import drop_model, tiny_spec
from support.small_fleet import fleet_table, write_dataset

from nordiq_watch.cli.main import main
from nordiq_watch.errors import MissingPackage
from nordiq_watch.evaluation import picture

OLD, NEW = "tft_model_20250130_143000", "tft_model_20250131_143000"
ONE_DAY = ["--dataset", "data", "--days", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is typed in: a dataset of four days and two versions in models/."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data", fleet_table(slots=4 * 288))
    drop_model(tmp_path / "models", OLD)
    drop_model(tmp_path / "models", NEW, band=2.0)
    return tmp_path


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_evaluate_shows_a_version_beside_the_live_one(capsys: pytest.CaptureFixture[str]) -> None:
    out = run("evaluate", f"models/{OLD}", *ONE_DAY, capsys=capsys)
    lines = out.splitlines()
    assert lines[0] == OLD
    assert "data: 3 servers, 24 origins, one every 1 h" in lines
    assert f"live: {NEW}" in lines
    row = next(line.split() for line in lines if line.startswith("cpu_user_pct"))
    assert row[1:3] == ["20", "min"]
    assert row[4] == "+0.0%", "the tiny model says the last value"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", [["evaluate", f"models/{OLD}"], ["compare", f"models/{OLD}", f"models/{NEW}"]])
def test_columns_that_are_called_otherwise_are_named(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = fleet_table(slots=4 * 288).rename(columns={"cpu_user_pct": "Busy (%)", "server_name": "Rack unit"})
    write_dataset(folder / "others", table)
    named = ["--column", "cpu_user_pct=Busy (%)", "--column", "server_name=Rack unit"]
    expected = run(*command, *ONE_DAY, "--json", capsys=capsys)
    found = run(*command, "--dataset", "others", "--days", "1", "--json", *named, capsys=capsys)
    assert json.loads(found)["scores"] == json.loads(expected)["scores"]
    assert main([*command, "--dataset", "others", "--days", "1"]) == 1
    assert "--column server_name=COLUMN" in capsys.readouterr().err


def test_the_live_version_is_not_shown_beside_itself(capsys: pytest.CaptureFixture[str]) -> None:
    out = run("evaluate", f"models/{NEW}", *ONE_DAY, capsys=capsys)
    assert "live" not in out


def test_the_pinned_version_is_the_live_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "decisions.json").write_text(json.dumps({"pinned": OLD}))
    assert f"live: {OLD}" in run("evaluate", f"models/{NEW}", *ONE_DAY, capsys=capsys)


def test_the_version_beside_it_can_be_named_or_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = drop_model(folder / "elsewhere", "tft_model_20240101_000000")
    assert f"live: {other.name}" in run("evaluate", f"models/{OLD}", *ONE_DAY, "--live", str(other), capsys=capsys)
    assert "live" not in run("evaluate", f"models/{OLD}", *ONE_DAY, "--live", "none", capsys=capsys)


def test_a_live_version_that_cannot_be_loaded_is_said_and_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = folder / "models" / NEW / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"\0" * 8)  # another hash
    assert main(["evaluate", f"models/{OLD}", *ONE_DAY]) == 0
    out, err = capsys.readouterr()
    assert "live" not in out
    assert err.startswith(f"no live version beside it: {NEW}: model.safetensors has SHA-256")


def test_tables_by_profile_and_by_hour_are_added(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", f"models/{OLD}", *ONE_DAY]
    plain = run(*arguments, capsys=capsys)
    lines = run(*arguments, "--by", "profile", "--by", "hour", capsys=capsys).splitlines()
    assert "Web API" not in plain
    assert {"Database", "Web API"} <= set(lines)
    begin = lines.index("mem_used_pct, up to 20 min, by hour of the day (UTC)")
    assert [line.split()[0] for line in lines[begin + 2 :]] == [f"{hour:02}" for hour in range(24)]
    assert max(map(len, lines)) <= 80


def test_json_is_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    report: dict[str, Any] = json.loads(run("evaluate", f"models/{OLD}", *ONE_DAY, "--json", capsys=capsys))
    assert report["model"]["name"] == OLD
    assert report["live"]["name"] == NEW
    assert (
        report["setting"] | {"dataset": "data", "days": 1, "every_seconds": 3600, "origins": 24, "zone": "UTC"}
        == report["setting"]
    )
    assert {score["forecast"] for score in report["scores"]} == {"model", "live", "last_value", "day_before"}
    assert {score["by"] for score in report["scores"]} == {"all", "profile", "hour"}


def test_compare_says_which_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", f"models/{OLD}", f"models/{NEW}", "--dataset", "data", "--every", "1200"]
    lines = run(*arguments, capsys=capsys).splitlines()
    assert lines[:2] == [f"A: {OLD}", f"B: {NEW}"]
    errors, losses = (number for number, line in enumerate(lines) if line.startswith("metric") and "verdict" in line)
    assert lines[errors + 1].split()[-2:] == ["not", "clear"], "both medians are the last value"
    assert lines[losses + 1].split()[-3:] == ["A", "is", "better"], "the bands of B are far too wide"
    assert "A t-test on the mean differences of 3 days, at the 5 % level." in lines
    assert max(map(len, lines)) <= 80


def test_compare_calls_none_better_of_too_few_days(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", f"models/{OLD}", f"models/{NEW}", *ONE_DAY]
    out = run(*arguments, capsys=capsys)
    assert "is better" not in out
    assert "Too few days to tell chance from a difference" in out
    report = json.loads(run(*arguments, "--json", capsys=capsys))
    assert {each["verdict"] for each in report["differences"]} == {"too_few_days"}


@pytest.mark.parametrize("command", [["evaluate", f"models/{OLD}"], ["compare", f"models/{OLD}", f"models/{NEW}"]])
def test_a_picture_is_drawn(command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(*command, *ONE_DAY, "--png", "picture.png", capsys=capsys)
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_picture_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackage, match=r"matplotlib is not installed\. .* its extra 'plot'"):
        picture.check_plotting()


def test_without_the_training_packages_it_says_how_to_get_them() -> None:
    script = (
        "import sys\n"
        "sys.modules['pandas'] = None  # as if it were not installed\n"
        "from nordiq_watch.cli.main import main\n"
        f"sys.exit(main(['evaluate', 'models/{OLD}', '--dataset', 'data']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: pandas is not installed. Install nordiq_watch with its extra 'train': pip")
    assert done.stderr.count("\n") == 1


def test_neither_lightning_nor_pytorch_forecasting_is_imported() -> None:
    script = (
        "import sys\n"
        "from nordiq_watch.cli.main import main\n"
        f"main(['evaluate', 'models/{OLD}', '--dataset', 'data', '--days', '0.2'])\n"
        "sys.exit(any(name in sys.modules for name in ('lightning', 'pytorch_forecasting', 'sklearn', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evaluate", "models/nowhere", "--dataset", "data"], "models/nowhere is not a directory. Name a model"),
        (["evaluate", "data", "--dataset", "data"], "data: it is not complete: "),
        (["evaluate", f"models/{OLD}", "--dataset", "nowhere"], "nowhere: does not exist"),
        (
            ["evaluate", f"models/{OLD}", "--dataset", "data", "--days", "9"],
            "data: holds 1152 slots of 300 s, of which",
        ),
        (["evaluate", f"models/{OLD}", *ONE_DAY, "--png", "no/such/p.png"], "no/such/p.png: no picture can be written"),
        (["evaluate", f"models/{OLD}", *ONE_DAY, "--live", "gone"], "gone is not a directory"),
        (["evaluate", f"models/{OLD}", *ONE_DAY, "--config", "no.yaml"], "no.yaml: cannot be read"),
        (["evaluate", "long", "--dataset", "data"], "data: holds 1152 slots of 300 s, but one forecast needs 2000"),
        (["evaluate", "swap", "--dataset", "data"], "data: has no swap_used_pct, which swap reads; it has cpu_user"),
        (["compare", f"models/{OLD}", "minutes", "--dataset", "data"], f"{OLD} has slots of 300 s, minutes of 60 s"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop_model(folder, "tft_model_1", spec=tiny_spec(max_encoder_length=2000)).rename("long")
    drop_model(folder, "tft_model_2", spec=tiny_spec(interval_seconds=60)).rename("minutes")
    drop_model(folder, "tft_model_3", spec=tiny_spec(targets=("swap_used_pct",))).rename("swap")
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {line}")


@pytest.mark.parametrize("days", ["0", "-1", "inf", "nan", "three"])
def test_days_are_a_number_above_zero(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", f"models/{OLD}", "--dataset", "data", "--days", days])
    assert ended.value.code == 2
    assert f"{days} is not a number of days above 0" in capsys.readouterr().err
