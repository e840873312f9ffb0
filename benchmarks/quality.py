"""How good the forecasts are, beside what a user would pick instead, on days that nothing was trained or chosen on.

Three questions on the real fleet (`../shared/data/google-fleet`), all judged on its last two days, an origin an hour,
96 steps:

  own      eight days of all machines to train on
  unseen   eight days of two thirds of the machines to train on; judged on the others
  small    three fleets of 16 machines, five days to train on

`nordiq-watch train` with its defaults is given the minutes of --minutes, whatever the machine has of cores; LightGBM is
trained by the referee's own script (`../shared/tools/forecast_peers.py`). A linear map as an analyst fits it, repeating
the last value and the day before stand beside them; AutoETS and MSTL of statsforecast, where it is installed, on every
sixth origin. --quick trains once, for a few seconds, on four days of 16 machines, and has no peers but the naive ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import yaml
from common import Report, Row, Target, run_benchmark, tell
from linear_map import forecast_linear
from matplotlib.figure import Figure
from statistical_peers import forecast_statistically
from support.fleet import GOOGLE_FLEET, METRICS

from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.evaluation.rolling import rolling_forecasts
from nordiq_watch.offline.models import load_model
from nordiq_watch.quantiles import pinball_loss
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.training.dataset import load_dataset

REFEREE = Path(__file__).parents[2] / "shared" / "tools" / "forecast_peers.py"
CUT, END = 2304, 2880
"""Slots from CUT on are read by this benchmark only, and never to choose a default."""
HORIZON, STEP, INTERVAL_SECONDS = 96, 12, 300
HORIZONS = {6: "30 min", 24: "2 h", 96: "8 h"}
LEVELS = (0.1, 0.5, 0.9)
SMALL_FLEETS, SMALL_MACHINES, SMALL_DAYS = 3, 16, 5
DAY_SLOTS = 288
STATISTICAL_STRIDE = 6
QUICK_MINUTES, QUICK_DAYS = 0.1, 4
COVERAGE, COVERAGE_SLACK = 0.8, 0.02
OURS, LIGHTGBM, LINEAR = "nordiq-watch train", "LightGBM", "linear map"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is trained on, and what is judged: machines by number, slots from `begin` on."""

    name: str
    trained: Sequence[int]
    judged: Sequence[int]
    begin: int = 0


def trials(names: Sequence[str], machines: int) -> Iterator[Trial]:
    everyone = list(range(machines))
    if "quick" in names:
        yield Trial("quick", everyone[:SMALL_MACHINES], everyone[:SMALL_MACHINES], begin=CUT - QUICK_DAYS * DAY_SLOTS)
    if "own" in names:
        yield Trial("own", everyone, everyone)
    if "unseen" in names:
        left_out = everyone[2::3]
        yield Trial("unseen", [number for number in everyone if number not in left_out], left_out)
    if "small" in names:
        order = np.random.default_rng(0).permutation(machines)
        for number in range(SMALL_FLEETS):
            chosen = sorted(order[number * SMALL_MACHINES : (number + 1) * SMALL_MACHINES].tolist())
            yield Trial(f"small {number + 1}", chosen, chosen, begin=CUT - SMALL_DAYS * DAY_SLOTS)


class Bench:
    """One trial's files, forecasts and scores. Forecasts are (origins, servers, metrics, horizon, 3)."""

    def __init__(self, trial: Trial, table: pd.DataFrame, root: Path) -> None:
        self.trial = trial
        self._root = root / trial.name.replace(" ", "-")
        times = np.sort(table["timestamp"].unique())
        names = sorted(table["server_name"].unique())
        kept = table[table["timestamp"] >= times[trial.begin]]
        self._train_end = times[CUT]
        self.trained = kept[kept["server_name"].isin([names[number] for number in trial.trained])]
        self.judged = kept[kept["server_name"].isin([names[number] for number in trial.judged])]
        self.cut = CUT - trial.begin
        self.origins = list(range(self.cut, END - trial.begin - HORIZON + 1, STEP))
        self.values = _stack(self.judged)
        self.truth = np.stack([self.values[:, origin : origin + HORIZON].swapaxes(1, 2) for origin in self.origins])
        for folder in ("dataset", "fleet", "peers"):
            (self._root / folder).mkdir(parents=True)
        self.trained[self.trained["timestamp"] < self._train_end].to_parquet(self._root / "dataset" / "metrics.parquet")
        self.trained.to_parquet(self._root / "trained.parquet")
        self.judged.to_parquet(self._root / "fleet" / "metrics.parquet")

    def last_value(self) -> FloatArray:
        return self._repeat([self.values[:, origin - 1, :, None] for origin in self.origins])

    def day_before(self) -> FloatArray:
        days = [self.values[:, origin - DAY_SLOTS : origin - DAY_SLOTS + HORIZON] for origin in self.origins]
        return self._repeat([day.swapaxes(1, 2) for day in days])

    def ours(self, minutes: float, seed: int) -> tuple[FloatArray, float]:
        """The forecasts of the daemon's own code, and the seconds that the command took."""
        home = self._root / f"ours-{minutes}-{seed}"
        home.mkdir()
        config = {"metrics": list(METRICS), "training": {"seed": seed}, "device": "cpu"}
        (home / "config.yaml").write_text(yaml.safe_dump(config))
        began = time.monotonic()
        command = [sys.executable, "-m", "nordiq_watch", "train", "--dataset", str(self._root / "dataset")]
        command += ["--max-minutes", str(minutes), "--models-dir", str(home / "models")]
        done = subprocess.run(
            [*command, "--config", str(home / "config.yaml")], check=True, capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        tell(done.stderr.rstrip())
        data = load_dataset(self._root / "fleet", metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
        fleet = RecordedFleet(data)
        origins = [fleet.first_slot + origin for origin in self.origins]
        return rolling_forecasts(load_model(done.stdout.strip(), device="cpu"), fleet, origins), seconds

    def lightgbm(self) -> tuple[FloatArray, float]:
        """As the referee's own script trains it, and the seconds that it took."""
        folder = self._root / "peers"
        began = time.monotonic()
        sizes = [str(self.cut), str(self._root / "fleet" / "metrics.parquet"), str(folder)]
        command = [sys.executable, str(REFEREE), str(self._root / "trained.parquet"), *sizes]
        subprocess.run([*command, str(self.cut), str(STEP), str(HORIZON)], check=True, stdout=sys.stderr)
        return np.load(folder / "lightgbm.npz")["q"], time.monotonic() - began

    def linear(self) -> tuple[FloatArray, float]:
        began = time.monotonic()
        forecasts = forecast_linear(_stack(self.trained)[:, : self.cut], self.values, self.origins, horizon=HORIZON)
        return forecasts, time.monotonic() - began

    def scores(self, forecasts: FloatArray, every: int = 1) -> dict[str, float]:
        """`cpu 30 min mae` and so on: MAE beside last value's, pinball loss, coverage."""
        truth, last = self.truth[::every], self.last_value()[::every]
        scores = {}
        for steps, label in HORIZONS.items():
            for column, metric in enumerate(METRICS):
                quantiles, true = forecasts[:, :, column, :steps], truth[:, :, column, :steps]
                errors = [np.abs(true - each[..., 1]).mean() for each in (quantiles, last[:, :, column, :steps])]
                key = f"{metric.split('_')[0]} {label}"
                scores[f"{key} mae"] = float(errors[0] / errors[1])
                scores[f"{key} pinball"] = float(pinball_loss(quantiles, true, LEVELS).mean())
                inside = (quantiles[..., 0] <= true) & (true <= quantiles[..., 2])
                scores[f"{key} coverage"] = float(inside.mean())
        return scores

    def _repeat(self, points: Sequence[FloatArray]) -> FloatArray:
        stacked = np.broadcast_to(np.stack(points), self.truth.shape)
        return np.repeat(stacked[..., None], len(LEVELS), axis=-1)


def _stack(table: pd.DataFrame) -> FloatArray:
    """(servers, slots, metrics), servers by name."""
    names = sorted(table["server_name"].unique())
    by_server = {name: part.sort_values("timestamp") for name, part in table.groupby("server_name")}
    return np.stack([by_server[name][list(METRICS)].to_numpy(np.float32) for name in names])


def measure(options: argparse.Namespace) -> Report:
    if not GOOGLE_FLEET.is_dir():
        raise SystemExit(f"the real fleet is not there: {GOOGLE_FLEET}")
    if options.quick:
        options.trials, options.minutes, options.seeds = ["quick"], [QUICK_MINUTES], 1
    table = pd.read_parquet(GOOGLE_FLEET / "metrics.parquet")
    rows: list[Row] = []
    with TemporaryDirectory() as root:
        for trial in trials(options.trials, table["server_name"].nunique()):
            bench = Bench(trial, table, Path(root))
            rows += run_trial(bench, options)
    columns = [(f"{metric} {label} {score}", f"{metric} {label} {score}") for metric, label, score in _cells()]
    shown = [("trial", "trial"), ("who", "forecaster"), ("seconds", "s")]
    tables = {
        "MAE beside last value's": [*shown, *[column for column in columns if column[0].endswith("mae")]],
        "Pinball loss": [*shown, *[column for column in columns if column[0].endswith("pinball")]],
        "Share between p10 and p90": [*shown, *[column for column in columns if column[0].endswith("coverage")]],
    }
    return Report(rows, list(targets(rows, options)), tables, lambda figure: draw(figure, rows))


def run_trial(bench: Bench, options: argparse.Namespace) -> Iterator[Row]:
    def row(who: str, forecasts: FloatArray, seconds: float = 0.0, every: int = 1) -> Row:
        found = {"trial": bench.trial.name, "who": who, "seconds": round(seconds), **bench.scores(forecasts, every)}
        tell(f"{bench.trial.name}: {who}, {seconds:.0f} s, load {os.getloadavg()[0]:.1f}")
        return found

    yield row("last value", bench.last_value())
    yield row("day before", bench.day_before())
    for limit in options.minutes:
        yield median_of([row(f"{OURS}, {limit:g} min", *bench.ours(limit, seed)) for seed in range(options.seeds)])
    if options.quick:
        return
    yield row(LIGHTGBM, *bench.lightgbm())
    if bench.trial.name.startswith("small"):
        yield row(LINEAR, *bench.linear())
    if bench.trial.name == "own" and not options.no_statistics:
        origins = bench.origins[::STATISTICAL_STRIDE]
        for who, forecasts, seconds in forecast_statistically(bench.values, origins, horizon=HORIZON):
            yield row(who, forecasts, seconds, STATISTICAL_STRIDE)


def median_of(rows: Sequence[Row]) -> Row:
    """Each number's median over the seeds."""
    return {
        name: float(np.median([row[name] for row in rows])) if isinstance(value, float) else value
        for name, value in rows[0].items()
    }


def targets(rows: Sequence[Row], options: argparse.Namespace) -> Iterator[Target]:
    """Of the longest training: every error below each peer's, and bands that hold what they say."""
    for trial in dict.fromkeys(row["trial"] for row in rows):
        by_name = {row["who"]: row for row in rows if row["trial"] == trial}
        ours = next(row for name, row in reversed(by_name.items()) if name.startswith(OURS))
        for peer in (LIGHTGBM, LINEAR):
            for metric, label, score in _cells():
                key = f"{metric} {label} {score}"
                if peer in by_name and score != "coverage":
                    yield Target(f"{trial}: {key}, ours over {peer}'s", ours[key] / by_name[peer][key], 1.0)
        for metric, label, score in _cells():
            if score == "coverage" and not options.quick:
                distance = abs(ours[f"{metric} {label} coverage"] - COVERAGE)
                yield Target(f"{trial}: {metric} {label}, distance of the coverage from 80 %", distance, COVERAGE_SLACK)


def _cells() -> Iterator[tuple[str, str, str]]:
    for score in ("mae", "pinball", "coverage"):
        for metric in METRICS:
            for label in HORIZONS.values():
                yield metric.split("_")[0], label, score


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """MAE beside last value's, a panel for each trial, a group of bars for each forecaster."""
    names = list(dict.fromkeys(row["trial"] for row in rows))
    figure.set_size_inches(11, 3 * len(names))
    keys = [f"{metric} {label} mae" for metric, label, score in _cells() if score == "mae"]
    for axis, trial in zip(np.atleast_1d(figure.subplots(len(names))), names, strict=True):
        shown = [row for row in rows if row["trial"] == trial and row["who"] != "last value"]
        for number, row in enumerate(shown):
            places = np.arange(len(keys)) + (number - len(shown) / 2) * 0.8 / len(shown)
            axis.bar(places, [row[key] - 1 for key in keys], 0.8 / len(shown), label=row["who"])
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(np.arange(len(keys)), [key.removesuffix(" mae") for key in keys])
        axis.set_ylabel("MAE beside last value's")
        axis.set_ylim(-0.6, 0.4)
        axis.set_title(trial, loc="left")
        axis.legend(fontsize="x-small", ncols=len(shown))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", nargs="+", choices=("own", "unseen", "small"), default=["own", "unseen", "small"])
    parser.add_argument(
        "--minutes", nargs="+", type=float, default=[2.0, 5.0, 10.0], help="of training; default: 2 5 10"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of which the median counts; default: 3")
    parser.add_argument("--no-statistics", action="store_true", help="without AutoETS and MSTL")


if __name__ == "__main__":
    run_benchmark(measure, __doc__, name="quality", add_arguments=add_arguments)
