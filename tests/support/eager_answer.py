"""The entries of an answer as dictionaries, one server and one metric at a time: what the arrays must amount to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nordiq_watch.api.enums import Level, Trend
from nordiq_watch.live.columns import FleetColumns
from nordiq_watch.live.entries import DISPLAY_METRICS, LOOKS, STEADY_WITHIN
from nordiq_watch.metrics import describe

Entry = dict[str, Any]


def describe_servers(columns: FleetColumns) -> dict[str, Entry]:
    """Every server's entry; arrays stand for lists, NaN for null."""
    return {name: _describe_server(columns, row) for row, name in enumerate(columns.servers)}


def _describe_server(columns: FleetColumns, row: int) -> Entry:
    entry: Entry = {}
    for column, metric in enumerate(columns.metrics):
        current = columns.current[row, column]
        ahead = _describe_forecast(columns, row, metric)
        if ahead is not None:
            entry[metric] = {"current": current, **ahead}
        elif not np.isnan(current):
            entry[metric] = {"current": current}
    entry["display_metrics"] = {
        name: _display(metric, entry[metric])
        for name, metric in DISPLAY_METRICS.items()
        if metric in entry and "p50" in entry[metric] and not np.isnan(entry[metric]["current"])
    }
    entry["profile"] = columns.profiles[columns.profile_codes[row]]
    if columns.label_codes is not None and (labels := columns.labels[columns.label_codes[row]]):
        entry["labels"] = dict(labels)
    entry["model_version"] = columns.versions[columns.version_codes[row]]
    return entry | _describe_verdict(columns, row)


def _describe_forecast(columns: FleetColumns, row: int, metric: str) -> Entry | None:
    if metric not in columns.targets:
        return None
    target = columns.targets.index(metric)
    quantiles = np.round(np.ascontiguousarray(columns.quantiles[row]), 4)  # (targets, 3, horizon)
    if not np.isfinite(quantiles[target]).all():
        return None
    hours = np.arange(quantiles.shape[-1]) * (columns.interval_seconds / 3600)
    centred = hours - hours.mean()
    with np.errstate(invalid="ignore"):
        slope = np.round((quantiles[:, 1] @ centred) / (centred @ centred), 4) + 0.0
    return dict(zip(("p10", "p50", "p90"), quantiles[target], strict=True)) | {"trend": slope[target]}


def _display(metric: str, described: Entry) -> Entry:
    current, predicted = described["current"], described["p50"][-1]
    delta = np.round(predicted - current, 4)
    trend = Trend.STEADY if abs(delta) <= STEADY_WITHIN else Trend.RISING if delta > 0 else Trend.FALLING
    unit = describe(metric).unit
    return {"current": current, "predicted": predicted, "delta": delta, "unit": unit, "trend": trend}


def _describe_verdict(columns: FleetColumns, row: int) -> Entry:
    if columns.verdicts is None:
        return {}
    score = float(columns.verdicts.scores[row])
    if math.isnan(score):
        return {"risk_score": None, "alert": None}
    level = Level.of_rank(int(columns.verdicts.levels[row]))
    look = LOOKS[level]
    shown = {"level": level, "score": score, "color": look.color, "emoji": look.emoji, "label": look.label}
    return {"risk_score": score, "alert": shown}
