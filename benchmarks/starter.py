"""What is the starter model worth on a fleet that it never saw, while there is no model?

Fleets begin anew on ../shared/data/google-fleet: of each origin only the last 3 to 48 hours before it are known. The
built-in forecast learns from them as the daemon has it learn, the starter learned from synthetic series alone, and
"served" is what the daemon answers with: each metric by the one that was better on the newest of these hours. All are
compared with the eight hours after the origin. Origins are in the last two days (from slot 2304 on), which decided
nothing about the starter; `--choosing` takes those before, which did.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from common import Report, Row, Target, run_benchmark, tell
from matplotlib.figure import Figure
from support.fleet import GOOGLE_FLEET, INTERVAL_SECONDS, METRICS, RealFleet

from nordiq_watch.forecast.baseline import Baseline, Learned
from nordiq_watch.live.sources import STARTER
from nordiq_watch.network.baseline.fit import FleetPast, fit_map
from nordiq_watch.network.baseline.rival import judge_starter
from nordiq_watch.network.starter.artefact import read_starter, shipped_starter
from nordiq_watch.network.starter.starter_map import StarterMap
from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES, clip_to_possible, pinball_loss
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.records.samples import WindowSnapshot

HISTORIES = (12, 36, 72, 144, 288, 576)
QUICK_HISTORIES = (12, 36, 144)
HORIZON, WINDOW, DAY = 96, 288, 288
JUDGED, SLOTS = 2304, 2880
MAKERS = ("last value", "yesterday", "built-in", "starter", "served")


def measure(options: argparse.Namespace) -> Report:
    if not GOOGLE_FLEET.is_dir():
        raise SystemExit(f"the real fleet is not there: {GOOGLE_FLEET}")
    values, starter = RealFleet().values.astype(np.float32), read_starter(shipped_starter())
    begin, end = (HISTORIES[-1], JUDGED) if options.choosing else (JUDGED, SLOTS)
    origins = np.linspace(begin, end - HORIZON, 3 if options.quick else 12).astype(np.int64).tolist()
    rows: list[Row] = []
    for slots in QUICK_HISTORIES if options.quick else HISTORIES:
        tell(f"{slots * INTERVAL_SECONDS / 3600:g} hours of history, {len(origins)} origins …")
        judged = [judge(values, starter, origin=origin, slots=slots) for origin in origins]
        for column, metric in enumerate(METRICS):
            row: Row = {"metric": metric, "hours": slots * INTERVAL_SECONDS / 3600}
            row["by starter"] = 100 * float(np.mean([share[column] for share, _ in judged]))
            for maker in MAKERS:
                errors = np.mean([errors[maker][:, column] for _, errors in judged], axis=0)
                row |= dict(zip((f"MAE {maker}", f"pinball {maker}", f"inside {maker}"), errors.tolist(), strict=True))
            rows.append(row)
    return report(rows)


def judge(
    values: FloatArray, starter: StarterMap, *, origin: int, slots: int
) -> tuple[DoubleArray, Mapping[str, DoubleArray]]:
    """(metrics,): of which share of servers the starter is served; and per maker (3, metrics): mean absolute error,
    pinball loss, and the percentage between p10 and p90.
    """
    past = FleetPast(np.ascontiguousarray(values[:, origin - slots : origin]), origin - 1, METRICS, INTERVAL_SECONDS)
    read = min(WINDOW, slots)
    found = fit_map(past, slots=read, horizon=HORIZON)
    baseline = Baseline(horizon=HORIZON, starter=starter)
    baseline.learn(Learned(found, judge_starter(starter, past, found, slots=read)))
    window = past.values[:, -read:]
    built_in, served = (
        baseline.forecast_as(
            snapshot(window, origin - 1), np.arange(len(values)), targets=METRICS, steps=HORIZON,
            levels=SERVED_QUANTILES, alone=alone,
        )
        for alone in (True, False)
    )  # fmt: skip
    of_starter = starter.quantiles(window, np.ones(window.shape[::2], np.bool_), steps=HORIZON, levels=SERVED_QUANTILES)
    last = window[:, -1, :, None, None]
    yesterday = values[:, origin - DAY : origin - DAY + HORIZON].transpose(0, 2, 1)[..., None]
    forecasts = {
        "last value": np.broadcast_to(last, of_starter.shape),
        "yesterday": np.broadcast_to(yesterday if slots >= DAY else np.float32(np.nan), of_starter.shape),
        "built-in": built_in.bands,
        "starter": clip_to_possible(of_starter, METRICS),
        "served": served.bands,
    }
    ahead = values[:, origin : origin + HORIZON].transpose(0, 2, 1)
    is_starter = [maker.name == STARTER for maker in served.sources.makers] if served.sources else []
    if served.sources is not None and served.sources.by_metric is not None:
        by_starter = np.array(is_starter)[served.sources.by_metric].mean(axis=0)
    else:
        by_starter = np.full(len(METRICS), float(served.model.name == STARTER))
    return by_starter, {maker: compare(forecast, ahead) for maker, forecast in forecasts.items()}


def snapshot(window: FloatArray, last_slot: int) -> WindowSnapshot:
    servers = tuple(f"s{number}" for number in range(len(window)))
    return WindowSnapshot(
        servers=servers,
        profiles=("Generic",) * len(servers),
        metrics=METRICS,
        interval_seconds=INTERVAL_SECONDS,
        last_slot=last_slot,
        values=window,
        statuses=np.zeros(window.shape[:2], dtype=np.uint8),
    )


def compare(forecast: FloatArray, ahead: FloatArray) -> DoubleArray:
    """(3, metrics)."""
    absolute = np.abs(ahead - forecast[..., MEDIAN])
    inside = np.where(np.isnan(absolute), np.nan, 100.0 * ((forecast[..., 0] <= ahead) & (ahead <= forecast[..., -1])))
    losses = (absolute, pinball_loss(forecast, ahead, SERVED_QUANTILES), inside)
    return np.stack([loss.mean(axis=(0, 2)) for loss in losses]).astype(np.float64)


def report(rows: list[Row]) -> Report:
    whose = [("metric", "metric"), ("hours", "hours known")]
    own = [maker for maker in MAKERS if maker not in ("last value", "yesterday")]
    return Report(
        rows=rows,
        targets=find_targets(rows),
        tables={
            "Mean absolute error of p50, in points": [*whose, *((f"MAE {maker}", maker) for maker in MAKERS)],
            "Pinball loss of p10, p50 and p90": [*whose, *((f"pinball {maker}", maker) for maker in MAKERS)],
            "Measurements between p10 and p90, in %; origins at which the starter is served, in %": [
                *whose, *((f"inside {maker}", maker) for maker in own), ("by starter", "by starter")
            ],
        },
        draw=lambda figure: draw(figure, rows),
    )  # fmt: skip


def find_targets(rows: list[Row]) -> list[Target]:
    """Served is to be no worse than the built-in forecast alone, and the starter better where least is known."""
    targets = [
        Target(
            f"pinball, served / built-in, {row['metric']}, {row['hours']:g} h",
            row["pinball served"] / row["pinball built-in"],
            1.0,
        )
        for row in rows
    ]
    first = [row for row in rows if row["hours"] <= 3]
    return targets + [
        Target(
            f"pinball, starter / built-in, {row['metric']}, {row['hours']:g} h",
            row["pinball starter"] / row["pinball built-in"],
            0.95,
        )
        for row in first
    ]


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(10, 4)
    for place, metric in enumerate(METRICS):
        axes = figure.add_subplot(1, len(METRICS), place + 1)
        own = [row for row in rows if row["metric"] == metric]
        hours = [row["hours"] for row in own]
        for maker in MAKERS:
            ratios = [row[f"pinball {maker}"] / row["pinball last value"] for row in own]
            axes.plot(hours, ratios, marker="o", label=maker, linestyle="--" if maker == "served" else "-")
        axes.set_xscale("log")
        axes.set_xticks(hours, [f"{hour:g}" for hour in hours])
        axes.minorticks_off()
        axes.set_xlabel("hours of history")
        axes.set_ylabel("pinball loss / last value's")
        axes.set_title(metric)
        axes.legend()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--choosing", action="store_true", help="origins before slot 2304")


if __name__ == "__main__":
    description = "What the starter model is worth on a fleet that it never saw."
    run_benchmark(measure, description, name="starter", add_arguments=add_arguments)
