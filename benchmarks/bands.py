"""Do adaptive bands hold 80 % when the fleet changes, and what do they cost when it does not?

Days of ../shared/data/google-fleet are replayed slot by slot through the daemon's own `quality.adaptive_bands`, around
a plain forecast: the mean of the last value and of the day before it, with a band as wide as 80 % of the first two days
need. Either the fleet stays as it is, and every later day is judged; or from some day on every deviation from p50 is
twice as large, and the day after that one is judged. Slots 2304 and later are not read.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from common import Report, Row, Target, run_benchmark, tell
from matplotlib.figure import Figure
from support.fake_model import fake_servable
from support.fleet import GOOGLE_FLEET, METRICS

from nordiq_watch.live.servable import Servable
from nordiq_watch.quality.adaptive_bands import GAIN_PER_DAY, AdaptiveBands
from nordiq_watch.records.accuracy import PendingForecast
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.records.samples import Measured
from nordiq_watch.spec import Extras
from nordiq_watch.training.dataset import load_dataset

INTERVAL_SECONDS = 300
DAY = 288
SLOTS = 2304
CHANGE_DAYS = (3, 4, 5)  # days count from 0; the band is chosen on 0 and 1
CHANGED = 2.0
HORIZONS = {1800: "30 min", 7200: "2 h", 28_800: "8 h"}
STEPS = 96
GAINS = (0.0, 2.5, 5.0, GAIN_PER_DAY, 10.0)
LATE_SLOTS = 2  # a forecast is compared when its slot and the one after it are over
TOLERANCE = 2.0  # points


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain forecast of one metric at one horizon, by origin: p50 and half widths (origins, servers), and the truth.

    Row r is made at slot `first + r`, for the slot `first + r + steps`.
    """

    first: int
    steps: int
    p50: DoubleArray
    half_widths: DoubleArray
    truth: DoubleArray


def measure(options: argparse.Namespace) -> Report:
    if not GOOGLE_FLEET.is_dir():
        raise SystemExit(f"the real fleet is not there: {GOOGLE_FLEET}")
    values = read_fleet()
    gains = (0.0, GAIN_PER_DAY) if options.quick else GAINS
    rows: list[Row] = []
    for column, metric in enumerate(METRICS):
        for horizon, name in HORIZONS.items():
            plain = forecast_plainly(values[:, :, column], horizon // INTERVAL_SECONDS)
            for changes in (False, True):
                row: Row = {"metric": f"{metric}, {name}", "fleet": "changes" if changes else "stays"}
                for gain in gains:
                    tell(f"{row['metric']}, the fleet {row['fleet']}, gain {gain:g} …")
                    judged = judge(plain, metric, horizon, changes=changes, gain=gain)
                    row |= {f"covered {gain:g}": 100 * judged.mean(), f"away {gain:g}": 100 * abs(judged - 0.8).mean()}
                rows.append(row)
    whose = [("metric", "metric"), ("fleet", "fleet")]
    return Report(
        rows=rows,
        targets=find_targets(rows),
        tables={
            "Measurements between p10 and p90, in %, by gain": [
                *whose, *((f"covered {gain:g}", f"{gain:g} a day") for gain in gains)
            ],
            "Points away from 80 % on a single day, mean over days": [
                *whose, *((f"away {gain:g}", f"{gain:g} a day") for gain in gains)
            ],
        },
        draw=lambda figure: draw(rows, gains, figure),
    )  # fmt: skip


def judge(plain: Plain, metric: str, horizon: int, *, changes: bool, gain: float) -> DoubleArray:
    """The share of measurements inside the served band, of each day that is judged."""
    if not changes:
        return replay(plain, metric, horizon, change_day=None, gain=gain)[2:]
    by_change = [(day, replay(plain, metric, horizon, change_day=day, gain=gain)) for day in CHANGE_DAYS]
    return np.array([by_day[day + 1] for day, by_day in by_change])


def read_fleet() -> DoubleArray:
    """(slots, servers, metrics) of the servers that are there throughout."""
    data = load_dataset(GOOGLE_FLEET, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    whole = [series for series in data.series if len(series.values) >= SLOTS]
    first = max(series.first_slot for series in whole)
    return np.stack([series.between(first, first + SLOTS).values.astype(np.float64) for series in whole], axis=1)


def forecast_plainly(values: DoubleArray, steps: int) -> Plain:
    """values (slots, servers). The band is split conformal: its width is chosen on days that are not judged."""
    origins = np.arange(DAY, SLOTS - steps)
    days = np.lib.stride_tricks.sliding_window_view(values, DAY, axis=0)[origins - DAY + 1]  # (origins, servers, DAY)
    means = days.mean(axis=2)
    spread = days.std(axis=2) + 0.02 * np.abs(means) + 1e-3
    p50, truth = 0.5 * (values[origins] + means), values[origins + steps]
    known = origins + steps < 2 * DAY
    width = np.quantile((np.abs(truth - p50) / spread)[known], 0.8)
    return Plain(DAY, steps, p50, width * spread, truth)


def replay(plain: Plain, metric: str, horizon: int, *, change_day: int | None, gain: float) -> DoubleArray:
    """The share of measurements inside the served band, by day in which the forecasts came due."""
    extras = Extras(slots=8, calibrated=True)
    model, _ = fake_servable(format_version=2, extras=extras, max_prediction_length=STEPS, targets=(metric,))
    bands = AdaptiveBands([horizon], enabled=True, gain_per_day=gain)
    covered: list[list[float]] = [[] for _ in range(SLOTS // DAY)]
    waiting: deque[tuple[PendingForecast, DoubleArray]] = deque()
    for row in range(len(plain.p50)):
        due_slot = plain.first + row + plain.steps
        scale = CHANGED if change_day is not None and due_slot >= change_day * DAY else 1.0
        pending = serve(plain, row, model, metric, horizon, bands=bands)
        waiting.append((pending, plain.p50[row] + scale * (plain.truth[row] - plain.p50[row])))
        if waiting[0][0].due_slot > plain.first + row - LATE_SLOTS:
            continue
        due, truth = waiting.popleft()
        came = Measured(due.servers, due.targets, truth.astype(np.float32)[:, None])
        bands.publish(bands.learn(due, came))
        covered[due.due_slot // DAY].append(share_covered(due, truth))
    for due, truth in waiting:
        covered[due.due_slot // DAY].append(share_covered(due, truth))
    return np.array([np.mean(day) if day else np.nan for day in covered])


def serve(
    plain: Plain, row: int, model: Servable, metric: str, horizon: int, *, bands: AdaptiveBands
) -> PendingForecast:
    factors = bands.factors_for(model)
    assert factors is not None
    factor, p50 = float(factors[0, plain.steps - 1]), plain.p50[row]
    half_widths = factor * plain.half_widths[row]
    return PendingForecast(
        model=model.name,
        sha256=model.identity.sha256,
        origin_slot=plain.first + row,
        due_slot=plain.first + row + plain.steps,
        horizon_seconds=horizon,
        interval_seconds=INTERVAL_SECONDS,
        servers=tuple(map(str, range(len(p50)))),
        targets=(metric,),
        values=np.stack([p50 - half_widths, p50, p50 + half_widths, p50], axis=1)[:, None].astype(np.float32),
        factors=(factor,),
    )


def share_covered(due: PendingForecast, truth: DoubleArray) -> float:
    return float(((due.values[:, 0, 0] <= truth) & (truth <= due.values[:, 0, 2])).mean())


def find_targets(rows: list[Row]) -> list[Target]:
    def mean_of(fleet: str, key: str) -> float:
        return float(np.mean([row[key] for row in rows if row["fleet"] == fleet]))

    away = f"away {GAIN_PER_DAY:g}"
    return [
        Target("the fleet changes: points away from 80 % on the day after", mean_of("changes", away), TOLERANCE),
        Target("the fleet stays: points away from 80 % on a day", mean_of("stays", away), TOLERANCE),
        Target(
            "the fleet stays: points away, beside the model's own bands",
            mean_of("stays", away) / mean_of("stays", "away 0"),
            1.0,
        ),
    ]


def draw(rows: list[Row], gains: Sequence[float], figure: Figure) -> None:
    for place, fleet in enumerate(("stays", "changes")):
        axes = figure.add_subplot(1, 2, place + 1)
        for row in (row for row in rows if row["fleet"] == fleet):
            axes.plot(gains, [row[f"covered {gain:g}"] for gain in gains], marker="o", label=row["metric"])
        axes.axhspan(80.0 - TOLERANCE, 80.0 + TOLERANCE, alpha=0.2)
        axes.set(title=f"the fleet {fleet}", xlabel="gain a day", ylabel="% between p10 and p90", ylim=(45, 90))
        axes.legend()


if __name__ == "__main__":
    run_benchmark(measure, (__doc__ or "").partition("\n")[0], name="bands")
