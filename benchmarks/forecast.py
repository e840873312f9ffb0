"""How long a fleet's forecast takes: pytorch-forecasting's `predict` from a data frame, and the daemon's own sweep from
its window, with the same network and the same data, taking turns in one run. Beside them the limit: the folded
network's multiplications at the rate at which this machine multiplies matrices.

--extras only compares sweeps with and without the members beside the network, in the processor's time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import get_args

import common  # noqa: F401  first: it makes `support` importable
import numpy as np
import pandas as pd
import torch
from common import Report, Row, Target, add_device, cores, median, run_benchmark, tell
from fleets import ENCODER, HORIZON, Peer, fill_window, make_frame, make_peer, make_values
from forecast_on_gpu import measure_on_gpu
from matplotlib.figure import Figure
from support.extras import random_extras, with_extras
from support.networks import raw_tensors

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.ingest.window import Window
from nordiq_watch.network.checks import check_spec
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.network.forward import Forward, Way, choose_forward
from nordiq_watch.network.fused_layers import Residual
from nordiq_watch.network.fused_selection import Selection
from nordiq_watch.network.fused_weights import FusedWeights, fuse
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.weights import build_network
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.samples import WindowSnapshot

DEFAULT_BATCH = 128
BATCHES = (DEFAULT_BATCH, 64, 32, 16)
LARGEST_LIBRARY_SWEEP = 500
"""Servers. Beyond, the library is asked once, and only at hidden 32 and one target, else it takes minutes; and so many
at a time, because `predict` keeps the attention of all, 6 GB for 5,000 servers, several times over.
"""

SQUARE = 1024


@dataclass
class Case:
    """One fleet and one network, and what was measured of them: way → seconds of each turn."""

    servers: int
    hidden: int
    targets: int
    threads: int
    sweeps: dict[str, list[float]] = field(default_factory=dict)
    forwards: dict[str, list[float]] = field(default_factory=dict)
    multiplied: list[float] = field(default_factory=list)
    flops: float = 0.0
    difference: float = 0.0

    @property
    def label(self) -> str:
        return f"{self.servers} servers, hidden {self.hidden}, {self.targets} target{'s' if self.targets > 1 else ''}"

    @property
    def libraries(self) -> dict[int, float]:
        """Batch size → median seconds."""
        return {
            batch: median(self.sweeps[f"library {batch}"]) for batch in BATCHES if f"library {batch}" in self.sweeps
        }

    @property
    def floor(self) -> float:
        """Seconds that the folded network's multiplications take at the rate of the matrix product."""
        return self.flops / median([2 * SQUARE**3 / seconds for seconds in self.multiplied])

    def row(self) -> Row:
        row: Row = {"case": self.label, "threads": self.threads}
        row |= {f"library {batch} ms": seconds * 1e3 for batch, seconds in self.libraries.items()}
        row |= {f"{way} ms": median(seconds) * 1e3 for way, seconds in self.sweeps.items() if not way.startswith("lib")}
        row |= {f"{way} forward ms": median(seconds) * 1e3 for way, seconds in self.forwards.items()}
        row["floor ms"] = self.floor * 1e3
        row["difference"] = self.difference
        if WITH_EXTRAS in self.sweeps:
            row["extras times native"] = median(self.sweeps[WITH_EXTRAS]) / median(self.sweeps["native"])
        row["native times folded"] = median(self.sweeps["folded"]) / median(self.sweeps["native"])
        for way in ("native", "folded"):
            if self.libraries and way in self.sweeps:
                mine = median(self.sweeps[way])
                row[f"{way} times default"] = self.libraries[DEFAULT_BATCH] / mine
                row[f"{way} times best"] = min(self.libraries.values()) / mine
        return row


def measure(options: argparse.Namespace) -> Report:
    if options.device != "cpu":
        fleets, hiddens = ([50], [32]) if options.quick else (options.fleets, [32, 128])
        return measure_on_gpu(options.device, fleets=fleets, hiddens=hiddens, repeats=options.repeats)
    if options.extras:
        return measure_extras([50] if options.quick else options.fleets, repeats=options.repeats)
    fleets = (50,) if options.quick else options.fleets
    networks = [(32, 1), (128, 1)] if options.quick else list(product((32, 128), (1, len(DEFAULT_METRICS))))
    threads = (1,) if options.quick or cores() == 1 else (1, cores())
    repeats = 3 if options.quick else options.repeats
    cases = []
    for hidden, targets in networks:
        peer = make_peer(hidden_size=hidden, targets=DEFAULT_METRICS[:targets])
        for servers, count in product(fleets, threads):
            case = Case(servers, hidden, targets, count)
            tell(f"{case.label}, {count} thread{'s' if count > 1 else ''} …")
            measure_case(case, peer, repeats=repeats if servers <= LARGEST_LIBRARY_SWEEP else 1)
            cases.append(case)
    torch.set_num_threads(1)
    return Report(
        rows=[case.row() for case in cases],
        targets=list(find_targets(cases)),
        tables=TABLES,
        draw=partial(draw, cases),
    )


def measure_case(case: Case, peer: Peer, *, repeats: int) -> None:
    """Every way takes its turn, `repeats` times; the first turn of each is not counted."""
    torch.set_num_threads(case.threads)
    values = make_values(case.servers, ENCODER + 1, seed=2)[:, 1:]
    window = fill_window(values)
    predictors = make_predictors(peer)
    snapshot, frame = window.snapshot(), make_frame(values)
    ways: dict[str, Callable[[], object]] = {
        name: partial(forecast_now, predictor, window) for name, predictor in predictors.items()
    }
    ways |= library_ways(case, peer, frame)
    extended: dict[str, Callable[[], object]] = {
        WITH_EXTRAS: partial(forecast_now, make_predictor_with_extras(peer), window)
    }
    forwards = make_forwards(peer, snapshot)
    square = torch.rand(SQUARE, SQUARE)
    case.flops = case.servers * count_flops(peer)
    outputs = {name: way() for name, way in ways.items()}
    case.difference = find_difference(outputs)
    for forward in (*forwards.values(), *extended.values()):
        forward()
    for _ in range(repeats):
        for name, way in (ways | extended).items():
            case.sweeps.setdefault(name, []).append(seconds_of(way))
        for name, forward in forwards.items():
            case.forwards.setdefault(name, []).append(seconds_of(forward))
        case.multiplied.append(seconds_of(lambda: square @ square))


def measure_extras(fleets: Sequence[int], *, repeats: int) -> Report:
    """Hidden 32, 1 and 14 targets; the network alone and the whole blend, natively and in torch, taking turns."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for targets, servers in product((1, len(DEFAULT_METRICS)), fleets):
        peer = make_peer(hidden_size=32, targets=DEFAULT_METRICS[:targets])
        window = fill_window(make_values(servers, ENCODER + 1, seed=2)[:, 1:])
        tell(f"{servers} servers, {targets} targets …")
        predictors = {
            "alone": Predictor(peer.spec, peer.tensors, device="cpu"),
            "blend": make_predictor_with_extras(peer),
            "blend in torch": make_predictor_with_extras(peer, native=False),
        }
        taken: dict[str, list[float]] = {name: [] for name in predictors}
        for _, (name, predictor) in product(range(repeats + 1), predictors.items()):
            begin = time.thread_time()
            forecast_now(predictor, window)
            taken[name].append(time.thread_time() - begin)
        found = {name: median(seconds[1:]) for name, seconds in taken.items()}
        row: Row = {"servers": servers, "targets": targets}
        row |= {f"{name} ms": seconds * 1e3 for name, seconds in found.items()}
        row |= {f"{name} times": found[name] / found["alone"] for name in ("blend", "blend in torch")}
        rows.append(row)
    most = {targets: max(row["blend times"] for row in rows if row["targets"] == targets) for targets in (1, 14)}
    headings = ["servers", "targets", *(name for name in rows[0] if " " in name)]
    return Report(
        rows=rows,
        targets=[Target(f"{count} targets: blend, times the network alone", most[count], 1.2) for count in most],
        tables={"A whole sweep with and without extras, CPU time": [(name, name) for name in headings]},
        draw=partial(draw_extras, rows),
    )


def draw_extras(rows: Sequence[Row], figure: Figure) -> None:
    figure.set_size_inches(6, 4)
    axes = figure.subplots()
    labels = [f"{row['servers']} servers,\n{row['targets']} targets" for row in rows]
    for name in ("blend", "blend in torch"):
        axes.plot(labels, [row[f"{name} times"] for row in rows], "o-", label=name)
    axes.axhline(1.2, color="grey", linestyle="--", label="target")
    axes.set(ylabel="times the network alone", ylim=(0, None))
    axes.legend()


def seconds_of(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def forecast_now(predictor: Predictor, window: Window) -> object:
    return predictor.predict(window.snapshot())


WITH_EXTRAS = "native with extras"
ROWS_HIDDEN = 32
FAST_WAYS: tuple[Way, ...] = ("native", "folded")


def make_predictors(peer: Peer) -> dict[str, Predictor]:
    made: dict[str, Predictor] = {
        way: Predictor(peer.spec, peer.tensors, device="cpu", prefer=way) for way in FAST_WAYS
    }
    if not made["native"].compute.startswith("native"):
        raise SystemExit("no native kernel is built: install the package again with a C++ compiler at hand")
    return made


def make_predictor_with_extras(peer: Peer, *, native: bool = True) -> Predictor:
    """The native way, and what extras add to it: both members, as large as training makes them, and a calibration.

    native: whether that is computed natively, too.
    """
    spec = with_extras(peer.spec, members=("linear", "rows"))
    extras = raw_tensors(random_extras(spec, hidden=ROWS_HIDDEN))
    predictor = Predictor(spec, peer.tensors, device="cpu", extras=extras)
    if not native:
        predictor._blend = predictor._terms
    return predictor


def library_ways(case: Case, peer: Peer, frame: pd.DataFrame) -> dict[str, Callable[[], object]]:
    """None where it would take minutes; of the batches between, only one where a turn takes many seconds."""
    if case.servers > LARGEST_LIBRARY_SWEEP and (case.hidden > 32 or case.targets > 1):
        return {}
    batches = BATCHES if case.servers * case.hidden <= 16_000 else (DEFAULT_BATCH, 32)
    rows = len(frame) // case.servers * LARGEST_LIBRARY_SWEEP
    parts = [frame.iloc[begin : begin + rows] for begin in range(0, len(frame), rows)]
    return {f"library {batch}": partial(predict_parts, peer, parts, batch_size=batch) for batch in batches}


def predict_parts(peer: Peer, parts: list[pd.DataFrame], *, batch_size: int) -> FloatArray:
    return np.concatenate([peer.predict(part, batch_size=batch_size) for part in parts])


def make_forwards(peer: Peer, snapshot: WindowSnapshot) -> dict[str, Callable[[], object]]:
    """The forward passes alone, on inputs that are ready."""
    check_spec(peer.spec)
    features = Features(peer.spec)
    rows = features.warm_rows(snapshot)
    network = build_network(peer.spec.network, peer.tensors)
    made: dict[str, Callable[[], object]] = {}
    for name in get_args(Way):
        forward = choose_forward(network, device="cpu", prefer=name, encoder=ENCODER)
        size = forward.servers_at_once
        parts = [features.build(snapshot, rows[begin : begin + size]) for begin in range(0, len(rows), size)]
        made[name] = partial(run_all, forward, parts)
    return made


def run_all(forward: Forward, parts: list[Inputs]) -> None:
    for part in parts:
        forward.run(part)


def find_difference(outputs: Mapping[str, object]) -> float:
    """The largest one between our ways, and to the library's where it was asked."""
    arrays = [getattr(output, "values", output) for output in outputs.values()]
    return float(max(np.abs(np.asarray(array) - np.asarray(arrays[0])).max() for array in arrays))


def count_flops(peer: Peer) -> float:
    """Additions and multiplications of one server's forward pass on the folded network, matrices alone."""
    fused = fuse(build_network(peer.spec.network, peer.tensors))
    network = peer.spec.network
    hidden, heads, steps = network.hidden_size, network.attention_head_size, ENCODER + HORIZON
    head = hidden // heads
    products = steps * 2 * 4 * hidden * hidden * network.lstm_layers
    products += ENCODER * _selection(fused.encoder) + HORIZON * _selection(fused.decoder)
    products += steps * (_size(fused.post_lstm.dense) + _residual(fused.enrichment))
    products += steps * (_size(fused.keys) + _size(fused.values))
    seen = HORIZON * ENCODER + HORIZON * (HORIZON - 1) // 2
    products += HORIZON * _size(fused.queries) + seen * (heads * head + head)
    products += HORIZON * sum(_size(part) for part in _last_layers(fused)) + HORIZON * _residual(fused.feed_forward)
    return 2.0 * products


def _size(dense: object) -> int:
    return int(dense.weight.numel())  # type: ignore[attr-defined]


def _residual(residual: Residual) -> int:
    return _size(residual.first) + _size(residual.gate.dense)


def _selection(selection: Selection) -> int:
    scores = selection.scores
    weighed = _size(scores.first) + _size(scores.skip) + _size(scores.gate.dense) if scores else 0
    return int(selection.own.matrix.numel()) + weighed + selection.variables * selection.own.u.shape[1]


def _last_layers(fused: FusedWeights) -> list[object]:
    return [fused.post_attention.dense, fused.pre_output.dense, fused.output]


def find_targets(cases: list[Case]) -> list[Target]:
    """The worst of the fleets of up to 500 servers on one thread. Shares, because a target is a most."""
    targets = []
    wanted = {
        ("native", "default", 32): 15, ("native", "best", 32): 12, ("native", "default", 128): 10,
        ("native", "best", 128): 7, ("folded", "default", 32): 4, ("folded", "default", 128): 3,
    }  # fmt: skip
    for (way, batch, hidden), times in wanted.items():
        found = [
            case.row()[f"{way} times {batch}"]
            for case in cases
            if case.threads == 1 and case.hidden == hidden and case.servers <= LARGEST_LIBRARY_SWEEP
        ]
        name = f"{way} sweep, hidden {hidden}: share of the library's time at its {batch} batch (1/{times})"
        targets.append(Target(name, 1 / min(found), 1 / times))
    for hidden, times in {32: 4, 128: 2}.items():
        found = [case.row()["native times folded"] for case in cases if case.threads == 1 and case.hidden == hidden]
        name = f"native sweep, hidden {hidden}: share of the folded torch's time (1/{times})"
        targets.append(Target(name, 1 / min(found), 1 / times))
    floors = [
        median(case.forwards["native"]) / case.floor for case in cases if case.threads == 1 and case.hidden == 128
    ]
    targets.append(Target("native forward, hidden 128: times the sgemm floor", max(floors), 1.6))
    return targets


WHO = [("case", "fleet and network"), ("threads", "threads")]
TABLES = {
    "A whole sweep, ms (medians)": [
        *WHO,
        *((f"library {batch} ms", f"library, batch {batch}") for batch in BATCHES),
        ("folded ms", "folded torch"),
        ("native ms", "native"),
        (f"{WITH_EXTRAS} ms", "native, with extras"),
        ("extras times native", "with extras: times without"),
        ("native times folded", "native: times folded torch"),
        ("native times default", "native: times the library"),
        ("native times best", "at its best batch"),
        ("folded times default", "folded: times the library"),
        ("folded times best", "at its best batch"),
        ("difference", "largest difference"),
    ],
    "The forward pass alone, ms (medians)": [
        *WHO,
        ("plain forward ms", "plain"),
        ("folded forward ms", "folded torch"),
        ("native forward ms", "native"),
        ("floor ms", "sgemm floor"),
    ],
}


def draw(cases: list[Case], figure: Figure) -> None:
    """Cost against the size of the fleet, one thread."""
    shapes = sorted({(case.hidden, case.targets) for case in cases})
    figure.set_size_inches(5.5 * len(shapes), 4.5)
    for axes, (hidden, targets) in zip(figure.subplots(1, len(shapes), squeeze=False)[0], shapes, strict=True):
        mine = [case for case in cases if (case.hidden, case.targets) == (hidden, targets) and case.threads == 1]
        lines: dict[str, Callable[[Case], float | None]] = {
            "pytorch-forecasting, default batch": lambda case: case.libraries.get(DEFAULT_BATCH),
            "pytorch-forecasting, best batch": lambda case: min(case.libraries.values(), default=None),
            "folded torch": lambda case: median(case.sweeps["folded"]),
            "native": lambda case: median(case.sweeps["native"]),
            "sgemm floor": lambda case: case.floor,
        }
        for label, read in lines.items():
            points = [(case.servers, seconds) for case in mine if (seconds := read(case)) is not None]
            style = {"linestyle": ":", "color": "grey"} if "floor" in label else {"marker": "o"}
            axes.plot(
                [servers for servers, _ in points], [seconds * 1e3 for _, seconds in points], label=label, **style
            )
        axes.set(xscale="log", yscale="log", xlabel="servers", ylabel="ms a sweep")
        axes.set_title(f"hidden {hidden}, {targets} target{'s' if targets > 1 else ''}, one thread")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser)
    parser.add_argument("--extras", action="store_true", help="only what the members beside the network cost")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument(
        "--fleets", type=int, nargs="+", default=[50, 500, 5000], metavar="N", help="servers (default: 50 500 5000)"
    )


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="forecast", add_arguments=add_arguments)
