"""How long a fleet's forecast takes: pytorch-forecasting's `predict` from a data frame, and the daemon's own sweep from
its window, with the same network and the same data, taking turns in one run. Beside them the limit: the folded
network's multiplications at the rate at which this machine multiplies matrices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import common  # noqa: F401  first: it makes `support` importable
import numpy as np
import pandas as pd
import torch
from common import Report, Row, Target, cores, median, run_benchmark, tell
from fleets import ENCODER, HORIZON, Peer, fill_window, make_frame, make_peer, make_values
from matplotlib.figure import Figure

from nordiq_watch.config import DEFAULT_METRICS
from nordiq_watch.network.checks import check_spec
from nordiq_watch.network.features import Features
from nordiq_watch.network.folds import Folds, Residual, Selection, fold
from nordiq_watch.network.forward import Forward, choose_forward
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.weights import build_network
from nordiq_watch.records import FloatArray

DEFAULT_BATCH = 128
BATCHES = (DEFAULT_BATCH, 64, 32, 16)
LARGEST_LIBRARY_SWEEP = 500
"""Servers. Beyond, the library is asked once, and only at hidden 32 and one target, else it takes minutes; and so many
at a time, because `predict` keeps the attention of all, 6 GB for 5,000 servers, several times over.
"""

SQUARE = 1024
HAS_GPU = torch.cuda.is_available()


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
        row["native times folded"] = median(self.sweeps["folded"]) / median(self.sweeps["native"])
        for way in ("native", "folded"):
            if self.libraries and way in self.sweeps:
                mine = median(self.sweeps[way])
                row[f"{way} times default"] = self.libraries[DEFAULT_BATCH] / mine
                row[f"{way} times best"] = min(self.libraries.values()) / mine
        return row


def measure(options: argparse.Namespace) -> Report:
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
    window = fill_window(values, tracks_changes=HAS_GPU)
    predictors = make_predictors(peer)
    snapshot, frame = window.snapshot(), make_frame(values)
    ways: dict[str, Callable[[], object]] = {
        name: (lambda chosen=chosen: chosen.predict(window.snapshot())) for name, chosen in predictors.items()
    }
    ways |= library_ways(case, peer, frame)
    forwards = make_forwards(peer, snapshot)
    square = torch.rand(SQUARE, SQUARE)
    case.flops = case.servers * count_flops(peer)
    outputs = {name: way() for name, way in ways.items()}
    case.difference = find_difference(outputs)
    for forward in forwards.values():
        forward()
    for _ in range(repeats):
        for name, way in ways.items():
            case.sweeps.setdefault(name, []).append(seconds_of(way))
        for name, forward in forwards.items():
            case.forwards.setdefault(name, []).append(seconds_of(forward))
        case.multiplied.append(seconds_of(lambda: square @ square))


def seconds_of(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def make_predictors(peer: Peer) -> dict[str, Predictor]:
    made = {way: Predictor(peer.spec, peer.tensors, device="cpu", prefer=way) for way in ("native", "folded")}  # type: ignore[arg-type]
    if not made["native"].compute.startswith("native"):
        raise SystemExit("no native kernel is built: install the package again with a C++ compiler at hand")
    return made | ({"gpu": made["native"].on("cuda")} if HAS_GPU else {})


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


def make_forwards(peer: Peer, snapshot: object) -> dict[str, Callable[[], object]]:
    """The forward passes alone, on inputs that are ready."""
    check_spec(peer.spec)
    features = Features(peer.spec)
    rows = features.warm_rows(snapshot)  # type: ignore[arg-type]
    network = build_network(peer.spec.network, peer.tensors)
    made: dict[str, Callable[[], object]] = {}
    for name in ("native", "folded", "plain"):
        forward = choose_forward(network, device="cpu", prefer=name, encoder=ENCODER)  # type: ignore[arg-type]
        size = forward.servers_at_once
        parts = [features.build(snapshot, rows[begin : begin + size]) for begin in range(0, len(rows), size)]  # type: ignore[arg-type]
        made[name] = partial(run_all, forward, parts)
    return made


def run_all(forward: Forward, parts: list) -> None:  # type: ignore[type-arg]
    for part in parts:
        forward.run(part)


def find_difference(outputs: Mapping[str, object]) -> float:
    """The largest one between our ways, and to the library's where it was asked."""
    arrays = [getattr(output, "values", output) for output in outputs.values()]
    return float(max(np.abs(np.asarray(array) - np.asarray(arrays[0])).max() for array in arrays))


def count_flops(peer: Peer) -> float:
    """Additions and multiplications of one server's forward pass on the folded network, matrices alone."""
    folds = fold(build_network(peer.spec.network, peer.tensors))
    network = peer.spec.network
    hidden, heads, steps = network.hidden_size, network.attention_head_size, ENCODER + HORIZON
    head = hidden // heads
    products = steps * 2 * 4 * hidden * hidden * network.lstm_layers
    products += ENCODER * _selection(folds.encoder) + HORIZON * _selection(folds.decoder)
    products += steps * (_size(folds.post_lstm.dense) + _residual(folds.enrichment))
    products += steps * (_size(folds.keys) + _size(folds.values))
    seen = HORIZON * ENCODER + HORIZON * (HORIZON - 1) // 2
    products += HORIZON * _size(folds.queries) + seen * (heads * head + head)
    products += HORIZON * sum(_size(part) for part in _last_layers(folds)) + HORIZON * _residual(folds.feed_forward)
    return 2.0 * products


def _size(dense: object) -> int:
    return int(dense.weight.numel())  # type: ignore[attr-defined]


def _residual(residual: Residual) -> int:
    return _size(residual.first) + _size(residual.gate.dense)


def _selection(selection: Selection) -> int:
    weighing = selection.weighing
    weighed = _size(weighing.first) + _size(weighing.skip) + _size(weighing.gate.dense) if weighing else 0
    return int(selection.own.matrix.numel()) + weighed + selection.variables * selection.own.u.shape[1]


def _last_layers(folds: Folds) -> list[object]:
    return [folds.post_attention.dense, folds.pre_output.dense, folds.output]


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
        ("native times folded", "native: times folded torch"),
        *([("gpu ms", "on the GPU")] if HAS_GPU else []),
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
        lines = {
            "pytorch-forecasting, default batch": lambda case: case.libraries.get(DEFAULT_BATCH),
            "pytorch-forecasting, best batch": lambda case: min(case.libraries.values(), default=None),
            "folded torch": lambda case: median(case.sweeps["folded"]),
            "native": lambda case: median(case.sweeps["native"]),
            "sgemm floor": lambda case: case.floor,
        }
        for label, read in lines.items():
            points = [(case.servers, read(case)) for case in mine if read(case) is not None]
            style = {"linestyle": ":", "color": "grey"} if "floor" in label else {"marker": "o"}
            axes.plot(
                [servers for servers, _ in points], [seconds * 1e3 for _, seconds in points], label=label, **style
            )
        axes.set(xscale="log", yscale="log", xlabel="servers", ylabel="ms a sweep")
        axes.set_title(f"hidden {hidden}, {targets} target{'s' if targets > 1 else ''}, one thread")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument(
        "--fleets", type=int, nargs="+", default=[50, 500, 5000], metavar="N", help="servers (default: 50 500 5000)"
    )


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="forecast", add_arguments=add_arguments)
