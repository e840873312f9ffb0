"""Are the right alerts told, in time, and no others? Incidents put into real days of a real fleet, a trained network.

The network is trained by the real `train` on the first six days of ../shared/data/google-fleet, with incidents put into
them (an operator's history has some); alerts are judged on the days after, with other incidents on other servers. Each
slot the network forecasts, risk is assessed and alerts are updated, by the daemon's own parts. Beside it, on the same
values: the same rules with the last value as the forecast, and a static threshold (told at once at a metric's warning).
An incident counts as told when its server is an alert of level warning or critical.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from common import Column, Report, Row, Target, median, run_benchmark, tell
from matplotlib.figure import Figure
from rich.console import Console
from support.fleet import GOOGLE_FLEET, INTERVAL_SECONDS, METRICS, RealFleet
from support.forecasts import make_forecast

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import FLOORS, ThresholdTable, level_of, score_values
from nordiq_watch.api.enums import Level
from nordiq_watch.config.schema import AlertSettings, Config, RiskSettings, WindowSettings
from nordiq_watch.config.settings import Settings
from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.events import EventBus
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.predictor import limit_threads
from nordiq_watch.records.alerts import Alert
from nordiq_watch.records.arrays import FloatArray, IntArray
from nordiq_watch.records.forecasts import Forecast, Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.loader import Loader
from nordiq_watch.reload.proof import prove_written
from nordiq_watch.training.order import Order
from nordiq_watch.training.trainer import TrainingRun

ENCODER, HORIZON = 96, 96
DAY, HOUR = 288, 12
TRAINED_DAYS = 6
CPU, MEMORY = 0, 1
CRITICAL = 95.0
WARNING = Level.WARNING.rank
BEFORE, AFTER = 2 * HOUR, 2 * HOUR  # quiet slots around an incident
INCIDENTS_A_DAY = 0.7
"""Of a server of the history that is trained on: a fleet that leaks, so that leaks can be learned."""
COMPANIONS = 6  # other servers that are watched beside the victim


# --- incidents ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Incident:
    """What happens to `servers` in `length` slots from `begin` on; apply changes values (servers, slots, metrics)."""

    kind: str
    servers: tuple[int, ...]
    begin: int
    length: int
    metric: int
    apply: Callable[[FloatArray], None]

    def put_into(self, values: FloatArray) -> None:
        part = values[list(self.servers), self.begin : self.begin + self.length]
        self.apply(part)
        values[list(self.servers), self.begin : self.begin + self.length] = part.clip(None, 100)


def leak(servers: Sequence[int], begin: int, chance: np.random.Generator) -> Incident:
    """Memory grows by 0.25 to 1.2 points a slot until it is full, and stays there for an hour."""
    rate, length = chance.uniform(0.25, 1.2), 0

    def grow(values: FloatArray) -> None:
        values[:, :, MEMORY] += rate * np.arange(1, values.shape[1] + 1)

    length = int(95 / rate) + HOUR
    return Incident("memory leak", tuple(servers), begin, length, MEMORY, grow)


def runaway(servers: Sequence[int], begin: int, chance: np.random.Generator) -> Incident:
    """A process takes more and more of the CPU, all of it after up to an hour, for two hours."""
    ramp = int(chance.integers(2, HOUR))

    def run_away(values: FloatArray) -> None:
        share = np.clip(np.arange(1, values.shape[1] + 1) / ramp, 0, 1)
        values[:, :, CPU] += share * (99.0 - values[:, :, CPU])

    return Incident("CPU runaway", tuple(servers), begin, 2 * HOUR, CPU, run_away)


def surge(servers: Sequence[int], begin: int, chance: np.random.Generator) -> Incident:
    """Load rises on all of them together within half an hour, and is gone two hours later."""
    top = chance.uniform(96, 99)

    def rise(values: FloatArray) -> None:
        share = np.clip(np.arange(1, values.shape[1] + 1) / 6, 0, 1)
        values[:, :, CPU] += share * (top - values[:, :, CPU])

    return Incident("correlated surge", tuple(servers), begin, 2 * HOUR, CPU, rise)


def gone(servers: Sequence[int], begin: int, chance: np.random.Generator) -> Incident:
    def vanish(values: FloatArray) -> None:
        values[:] = np.nan

    return Incident("host gone", tuple(servers), begin, 2 * HOUR, MEMORY, vanish)


KINDS = {"memory leak": (leak, 1), "CPU runaway": (runaway, 1), "correlated surge": (surge, 4), "host gone": (gone, 1)}


# --- the network --------------------------------------------------------------------------------------------------


def train_network(fleet: RealFleet, root: Path, *, batches: int) -> Servable:
    """Trained by the real command's own code on six days with incidents in them."""
    chance = np.random.default_rng(1)
    values = fleet.values[:, : TRAINED_DAYS * DAY].copy()
    for server in range(len(values)):
        for day in range(1, TRAINED_DAYS):
            make = (leak, leak, runaway, surge)[int(chance.integers(4))]
            if chance.uniform() < INCIDENTS_A_DAY:
                make([server], day * DAY + int(chance.integers(DAY // 2)), chance).put_into(values)
    write_dataset(root / "dataset", fleet, values)
    training = TrainingSettings(
        hidden_size=32,
        max_encoder_length=ENCODER,
        max_prediction_length=HORIZON,
        max_batches_per_epoch=batches,
    )
    config = Config(metrics=METRICS, window=WindowSettings(length=ENCODER), training=training, device="cpu")
    order = Order(root / "dataset", root / "models", epochs=1, drop_anyway=True)
    directory = TrainingRun(
        order, Settings(config, root), console=Console(file=io.StringIO()), prove=prove_written
    ).execute()
    (version,) = Catalogue(directory.parent).scan()
    loader = Loader(None)
    return loader.build(version, loader.read(version), generation=1)


def write_dataset(folder: Path, fleet: RealFleet, values: FloatArray) -> None:
    servers, slots = values.shape[:2]
    at = [datetime.fromtimestamp((fleet.first_slot + slot) * INTERVAL_SECONDS, UTC) for slot in range(slots)]
    columns = {"timestamp": at * servers, "server_name": np.repeat(np.array(fleet.servers), slots)}
    columns |= {metric: values[..., column].reshape(-1) for column, metric in enumerate(METRICS)}
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pa.table(columns), folder / "metrics.parquet")


def last_value(snapshot: WindowSnapshot) -> Forecast:
    """The newest measurement for ever, sure of itself."""
    values = snapshot.values
    at = values.shape[1] - 1 - np.argmax(~np.isnan(values[:, ::-1]), axis=1)
    newest = np.take_along_axis(values, at[:, None], axis=1)[:, 0]
    ahead = np.repeat(np.repeat(newest[:, :, None, None], HORIZON, axis=2), 3, axis=3)
    identity = ModelIdentity("last value", 1, "")
    return make_forecast(snapshot.servers, ahead, targets=METRICS, origin_slot=snapshot.last_slot, model=identity)


# --- who tells what -----------------------------------------------------------------------------------------------


@dataclass
class Told:
    """Server → the slots in which it became an alert of warning or critical, by one who tells."""

    slots: dict[str, list[int]] = field(default_factory=dict)
    risks: list[float] = field(default_factory=list)

    def note(self, server: str, slot: int) -> None:
        self.slots.setdefault(server, []).append(slot)


class Pipeline:
    """The daemon's own judge and alert book over some way to forecast."""

    def __init__(self, forecast: Callable[[WindowSnapshot], Forecast]) -> None:
        self._forecast = forecast
        self.book = ActiveAlerts(AlertSettings())
        self.judge = RiskEvaluator(
            RiskSettings(),
            ThresholdTable(RiskSettings(), METRICS),
            self.book,
            EventBus(),
            silent_seconds=3600,
            clock=lambda: float("inf"),
        )
        self._high: set[str] = set()
        self.told = Told()

    def see(self, snapshot: WindowSnapshot, slot: int) -> None:
        verdicts = self.judge(Forecasting(snapshot, self._forecast(snapshot)))
        scores = verdicts.verdicts.scores
        self.told.risks.append(float(np.nan_to_num(scores[0])) if len(scores) else 0.0)
        high = {alert.server_name for alert in self.book.active if is_high(alert)}
        for server in high - self._high:
            self.told.note(server, slot)
        self._high = high


class StaticThreshold:
    """What most fleets have: an alert as soon as a metric is measured at its warning threshold."""

    def __init__(self) -> None:
        self._table = ThresholdTable(RiskSettings(), METRICS)
        self._high: set[str] = set()
        self.told = Told()

    def see(self, snapshot: WindowSnapshot, slot: int) -> None:
        limits = self._table.of(snapshot.profiles)
        scores = np.stack([score_values(snapshot.values[:, -1, k], limits[:, k]) for k in range(len(METRICS))])
        levels = level_of(np.fmax.reduce(scores))
        high = {name for name, level in zip(snapshot.servers, levels.tolist(), strict=True) if level >= WARNING}
        for server in high - self._high:
            self.told.note(server, slot)
        self._high = high


def is_high(alert: Alert) -> bool:
    return alert.level.rank >= WARNING


def make_tellers(network: Servable) -> dict[str, Pipeline | StaticThreshold]:
    return {
        "nordiq_watch": Pipeline(network.forecast),
        "last value": Pipeline(last_value),
        "static threshold": StaticThreshold(),
    }


def windows(fleet: RealFleet, values: FloatArray, rows: IntArray, slots: range) -> Iterator[tuple[int, WindowSnapshot]]:
    for slot in slots:
        window = values[rows, slot - ENCODER + 1 : slot + 1].astype(np.float32)
        names = tuple(str(fleet.servers[row]) for row in rows)
        yield (
            slot,
            WindowSnapshot(
                servers=names,
                profiles=("Generic",) * len(names),
                metrics=METRICS,
                interval_seconds=INTERVAL_SECONDS,
                last_slot=fleet.first_slot + slot,
                values=window,
                statuses=np.zeros(window.shape[:2], np.uint8),
            ),
        )


# --- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One incident, and what each teller told of it. reached: the slot in which the threshold is, first victim."""

    incident: Incident
    begin: int
    reached: int
    values: FloatArray
    told: dict[str, Told]


def try_incident(fleet: RealFleet, network: Servable, kind: str, *, seed: int) -> Trial:
    chance = np.random.default_rng(1000 + seed)
    make, count = KINDS[kind]
    rows = chance.choice(len(fleet.servers), size=count + COMPANIONS, replace=False)
    begin = int(chance.integers((TRAINED_DAYS + 1) * DAY, 8 * DAY))
    incident = make(rows[:count].tolist(), begin, chance)
    values = fleet.values.copy()
    incident.put_into(values)
    tellers = make_tellers(network)
    end = min(begin + incident.length + AFTER, values.shape[1])
    for slot, snapshot in windows(fleet, values, rows, range(begin - BEFORE, end)):
        for teller in tellers.values():
            teller.see(snapshot, slot)
    victim = values[rows[0], begin : begin + incident.length, incident.metric]
    reached = begin if kind == "host gone" else begin + int(np.argmax(victim >= CRITICAL))
    history = values[rows[0], begin - BEFORE : end, incident.metric]
    return Trial(incident, begin - BEFORE, reached, history, {name: teller.told for name, teller in tellers.items()})


def judge_trials(fleet: RealFleet, trials: Sequence[Trial], teller: str) -> Row:
    """Lead in minutes before the threshold is reached (negative: after it), false alerts, missed victims."""
    leads, false, victims, told = [], 0, 0, 0
    for trial in trials:
        names = {str(fleet.servers[row]) for row in trial.incident.servers}
        end = trial.incident.begin + trial.incident.length
        for server, slots in trial.told[teller].slots.items():
            right = [slot for slot in slots if server in names and trial.incident.begin <= slot < end]
            false += len(slots) - len(right)
            told += len(right)
        first = trial.told[teller].slots.get(str(fleet.servers[trial.incident.servers[0]]), [])
        first = [slot for slot in first if slot >= trial.incident.begin]
        if first:
            leads.append((trial.reached - first[0]) * INTERVAL_SECONDS / 60)
        victims += len(names) - sum(
            any(trial.incident.begin <= slot < end for slot in trial.told[teller].slots.get(name, [])) for name in names
        )
    return {
        "incident": trials[0].incident.kind,
        "who": teller,
        "trials": len(trials),
        "lead_minutes": median(leads) if leads else float("nan"),
        "worst_lead_minutes": min(leads, default=float("nan")),
        "missed": victims,
        "alerts": told + false,
        "precision": told / (told + false) if told + false else float("nan"),
    }


def measure_quiet_days(fleet: RealFleet, network: Servable, *, days: float, every: int) -> list[Row]:
    """Nothing was put into these days: every alert is one too many."""
    tellers = make_tellers(network)
    slots = range(TRAINED_DAYS * DAY, TRAINED_DAYS * DAY + int(days * DAY), every)
    rows = np.arange(len(fleet.servers))
    for slot, snapshot in windows(fleet, fleet.values, rows, slots):
        for teller in tellers.values():
            teller.see(snapshot, slot)
    return [
        {
            "incident": "none",
            "who": name,
            "server_days": len(fleet.servers) * days,
            "false_alerts": sum(map(len, teller.told.slots.values())),
        }
        for name, teller in tellers.items()
    ]


def measure(options: argparse.Namespace) -> Report:
    if not GOOGLE_FLEET.is_dir():
        raise SystemExit(f"the real dataset is not there: {GOOGLE_FLEET}")
    limit_threads(1)  # in so small a network threads only wait for each other
    fleet = RealFleet()
    batches, repeats, days = (60, 2, 0.5) if options.quick else (1000, 8, 2.0)
    with TemporaryDirectory(prefix="nordiq-alerts-") as root:
        tell(f"training with {batches} batches")
        network = train_network(fleet, Path(root), batches=batches)
    trials = {}
    for kind in KINDS:
        tell(f"{kind}: {repeats} times")
        trials[kind] = [try_incident(fleet, network, kind, seed=seed) for seed in range(repeats)]
    rows = [judge_trials(fleet, trials[kind], teller) for kind in KINDS for teller in make_tellers(network)]
    tell(f"{days:g} quiet days")
    rows += measure_quiet_days(fleet, network, days=days, every=1)
    return Report(rows, make_targets(rows), TABLES, lambda figure: draw(figure, trials["memory leak"][0], rows))


TABLES: dict[str, Sequence[Column]] = {
    "Incidents: minutes before the critical threshold is reached (negative: after it)": (
        ("incident", "incident"),
        ("who", "told by"),
        ("trials", "trials"),
        ("lead_minutes", "lead, median"),
        ("worst_lead_minutes", "worst"),
        ("missed", "servers missed"),
        ("precision", "precision"),
    ),
    "Quiet days": (("incident", "incident"), ("who", "told by"), ("server_days", "server days"),
                   ("false_alerts", "false alerts")),
}  # fmt: skip


def make_targets(rows: Sequence[Row]) -> list[Target]:
    found = {(row["incident"], row["who"]): row for row in rows}
    ours = {kind: found[kind, "nordiq_watch"] for kind in KINDS}
    leak_row, static = ours["memory leak"], found["memory leak", "static threshold"]
    return [
        Target("servers in an incident that were not told", sum(row["missed"] for row in ours.values()), 0),
        Target("false alerts on quiet days", found["none", "nordiq_watch"]["false_alerts"], 0),
        Target("share of alerts that were false", 1 - min(row["precision"] for row in ours.values()), 0.05),
        Target("leak: lead of the static threshold / ours", static["lead_minutes"] / leak_row["lead_minutes"], 0.6),
        Target("host gone: minutes until it is told", -ours["host gone"]["lead_minutes"], 15),
    ]


def draw(figure: Figure, trial: Trial, rows: Sequence[Row]) -> None:
    """One leak as each teller saw it, and the leads of all incidents."""
    above, below = figure.subplots(2, 1)
    hours = (np.arange(len(trial.values)) - BEFORE) / HOUR
    above.plot(hours, trial.values, label="memory, %", color="black")
    for name, color in (("nordiq_watch", "tab:blue"), ("last value", "tab:orange")):
        above.plot(hours, trial.told[name].risks, label=f"risk, {name}", color=color)
    above.axhline(CRITICAL, color="tab:red", linestyle=":", label="critical threshold")
    above.axhline(FLOORS[WARNING - 1], color="gray", linestyle=":", label="level warning")
    above.set(title="A memory leak", xlabel="hours since it began", ylim=(0, 105))
    above.legend(fontsize="x-small")
    kinds, names = list(KINDS), ("nordiq_watch", "last value", "static threshold")
    for offset, name in enumerate(names):
        leads = [row.get("lead_minutes", 0.0) for row in rows if row["who"] == name and row["incident"] in KINDS]
        below.barh(np.arange(len(kinds)) + 0.25 * offset, np.nan_to_num(leads), height=0.22, label=name)
    below.set_yticks(np.arange(len(kinds)) + 0.25, kinds)
    below.set(xlabel="minutes before the critical threshold is reached (median)")
    below.legend(fontsize="x-small")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="alerts")
