"""May the kernel's weights be shorter than float32? How far forecasts move when weights are rounded to bfloat16, and to
the sum of two bfloat16, beside how far the library's own float32 is from float64. All with the library's network, whose
other numbers stay float64 where weights are rounded: a kernel that also rounds activations is farther still. Shorter
weights would be legitimate where they are no farther than float32, and pay where they need fewer instructions.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from common import Report, Row, median, run_benchmark, tell
from fleets import ENCODER, HORIZON, Peer, make_frame, make_peer, make_values, quietly
from matplotlib.figure import Figure
from pytorch_forecasting import TimeSeriesDataSet

from nordiq_watch.config.schema import DEFAULT_METRICS

SERVERS, HIDDENS = 64, (32, 128)
FLOAT32, ONE, TWO = "float32, as the library computes", "weights in one bfloat16", "weights in two bfloat16"
PRODUCTS = {ONE: 1, TWO: 3}
"""Products instead of one of float32; an instruction of AVX512_BF16 does twice as many as one of AVX-512."""


def measure(options: argparse.Namespace) -> Report:
    torch.manual_seed(0)
    rows = [row for hidden in (HIDDENS[:1] if options.quick else HIDDENS) for row in measure_network(hidden)]
    columns = [("hidden", "hidden"), ("weights", "weights"), ("median", "median error"), ("largest", "largest error")]
    shown = [*columns, ("times float32", "times float32's"), ("instructions", "instructions, times float32's")]
    title = "Distance from float64, in the scales of the forecasts"
    return Report(rows, [], {title: shown}, partial(draw, rows))


def measure_network(hidden: int) -> list[Row]:
    tell(f"hidden {hidden} …")
    peer = make_peer(hidden_size=hidden, targets=DEFAULT_METRICS[:1])
    inputs = make_inputs(peer)
    exact = forecast(peer.model.double(), inputs, torch.float64)
    roundings: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {ONE: to_one, TWO: to_two}
    forecasts = {FLOAT32: forecast(copy.deepcopy(peer.model).float(), inputs, torch.float32)}
    forecasts |= {
        name: forecast(rounded(peer.model, rounding), inputs, torch.float64) for name, rounding in roundings.items()
    }
    scale = float(exact.std())
    rows = []
    for name, found in forecasts.items():
        errors = (found.double() - exact).abs() / scale
        row: Row = {"hidden": hidden, "weights": name, "median": median(errors), "largest": float(errors.max())}
        rows.append(row | ({"instructions": PRODUCTS[name] / 2} if name in PRODUCTS else {}))
    return [row | {"times float32": row["median"] / rows[0]["median"]} for row in rows]


def make_inputs(peer: Peer) -> dict[str, Any]:
    with quietly():
        frame = make_frame(make_values(SERVERS, ENCODER + 1, seed=2)[:, 1:], ahead=HORIZON)
        dataset = TimeSeriesDataSet.from_dataset(peer.dataset, frame, predict=True)
        x, _ = next(iter(dataset.to_dataloader(train=False, batch_size=SERVERS, num_workers=0)))
    return dict(x)


@torch.no_grad()
def forecast(network: Any, inputs: dict[str, Any], dtype: torch.dtype) -> torch.Tensor:
    """The network's own output, before it is scaled to the metric's unit."""
    moved = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
    captured: list[torch.Tensor] = []
    layer = network.output_layer
    hook = layer.register_forward_hook(lambda _, __, output: captured.append(output))
    network(moved)
    hook.remove()
    return captured[0]


def rounded(network: Any, rounding: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy whose matrices are rounded; vectors, such as biases, are not."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.copy_(rounding(weight))
    return made


def to_one(weight: torch.Tensor) -> torch.Tensor:
    return weight.bfloat16().to(weight.dtype)


def to_two(weight: torch.Tensor) -> torch.Tensor:
    high = to_one(weight)
    return high + to_one(weight - high)


def draw(rows: Sequence[Row], figure: Figure) -> None:
    axes = figure.subplots()
    axes.barh([f"hidden {row['hidden']}: {row['weights']}" for row in rows], [row["median"] for row in rows])
    axes.set(xscale="log", xlabel="median distance from float64, in scales")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="precision")
