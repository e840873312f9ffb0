"""What forecast.py measures with --device cuda: whole sweeps of the daemon and of the library, both on the GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import common  # noqa: F401  first: it makes `support` importable
from common import Report, Row, median, tell
from fleets import ENCODER, fill_window, make_frame, make_peer, make_values
from matplotlib.figure import Figure

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.network.predictor import Predictor

BATCHES = (128, 512, 2048)
"""Of the library; on a GPU the larger ones are the quicker ones. Its default is the first."""


def measure_on_gpu(device: str, *, fleets: Sequence[int], hiddens: Sequence[int], repeats: int) -> Report:
    """Sweeps from a window, and from a data frame, take turns; the first turn, with all captures, is not counted."""
    rows = [measure_case(device, hidden, servers, repeats) for hidden, servers in product(hiddens, fleets)]
    shown = [("hidden", "hidden"), ("servers", "servers"), *((name, name) for name in rows[0] if name.endswith("ms"))]
    columns = [*shown, ("compute", "compute"), ("times best library", "times the library at its best")]
    return Report(rows, [], {f"A whole sweep on {device} (medians)": columns}, partial(draw, rows))


def measure_case(device: str, hidden: int, servers: int, repeats: int) -> Row:
    tell(f"hidden {hidden}, {servers} servers …")
    peer = make_peer(hidden_size=hidden, targets=DEFAULT_METRICS[:1])
    values = make_values(servers, ENCODER + 1, seed=2)[:, 1:]
    window, frame = fill_window(values, tracks_changes=True), make_frame(values)
    predictor = Predictor(peer.spec, peer.tensors, device=device)
    ways: dict[str, Callable[[], object]] = {"daemon ms": lambda: predictor.predict(window.snapshot())}
    ways |= {
        f"library {batch} ms": partial(peer.predict, frame, batch_size=batch, accelerator=device.partition(":")[0])
        for batch in BATCHES
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn, (name, way) in product(range(repeats + 1), ways.items()):
        began = time.perf_counter()
        way()  # its answer lies in host memory, so that the GPU is done
        if turn:
            taken[name].append(1e3 * (time.perf_counter() - began))
    found: Row = {name: median(seconds) for name, seconds in taken.items()}
    best = min(seconds for name, seconds in found.items() if name != "daemon ms")
    more = {"compute": predictor.compute, "times best library": best / found["daemon ms"]}
    return {"hidden": hidden, "servers": servers} | found | more


def draw(rows: Sequence[Row], figure: Figure) -> None:
    axes = figure.subplots()
    labels = [f"hidden {row['hidden']}\n{row['servers']} servers" for row in rows]
    for name in (name for name in rows[0] if name.endswith("ms")):
        axes.plot(labels, [row[name] for row in rows], "o-", label=name.removesuffix(" ms"))
    axes.set(yscale="log", ylabel="ms a sweep")
    axes.legend()
