"""Whole sweeps over a window that is kept on the device, against those that read the snapshot itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.batches import Sample, make_batch
from support.gpu import DEVICES
from support.network_cases import Case
from support.networks import A_MONDAY, INTERVAL_SECONDS, network_spec, random_weights, raw_tensors

from nordiq_watch.ingest.window import Window
from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.features import Features
from nordiq_watch.network.fleet_forward import DeviceSweep
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.samples import Batch
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

METRICS = ("load_average", "cpu_user_pct", "mem_used_pct")
ENCODER, TICKS = 12, 60
ABSOLUTE = 1e-4


def make_window() -> Window:
    return Window(
        METRICS,
        interval_seconds=INTERVAL_SECONDS,
        length=ENCODER + 5,
        max_servers=1000,
        silent_seconds=3 * INTERVAL_SECONDS,
        tracks_changes=True,
    )


def restless_fleet() -> Iterator[Batch]:
    """A tick after the other: servers join, until there are more than 32 and then than 64; some leave, some fall silent
    and come back, some samples are late, lost, or without one of the metrics.
    """
    chance = np.random.default_rng(5)
    late: list[Sample] = []
    for tick in range(TICKS):
        due, late = late, []
        for server in range(min(80, 20 + tick * 2)):
            silent, left = server % 9 == 4 and 25 < tick < 25 + server // 3, server < 3 and tick > 30
            if silent or left or chance.random() < 0.02:
                continue
            measured = [metric for metric in METRICS if chance.random() < 0.97]
            values = {metric: float(chance.uniform(5, 95)) for metric in measured}
            status = int(chance.integers(len(STATUSES)))
            sample = Sample(f"ppdb{server:03d}", A_MONDAY + tick, values, status)
            (late if chance.random() < 0.1 else due).append(sample)
        yield make_batch(due, METRICS)


def predictor(spec: ModelSpec, prefer: str, *, device: str = "cpu", seed: int = 1) -> Predictor:
    made = Predictor(spec, raw_tensors(random_weights(spec, seed=seed)), device="cpu", prefer=prefer)  # type: ignore[arg-type]
    return made if device == "cpu" else made.on(device)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_tick_by_tick_it_is_the_sweep_over_the_snapshot(device: str) -> None:
    spec, window = network_spec(), make_window()
    there, here = predictor(spec, "static", device=device), predictor(spec, "folded")
    sizes, copied, whole = set(), [], 0
    assert there.working_bytes == here.working_bytes == 0
    for batch in restless_fleet():
        window.apply(batch)
        snapshot = window.snapshot()
        expected, found = here.predict(snapshot), there.predict(snapshot)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=ABSOLUTE)
        sizes.add(len(found.rows) // 32)
        copied.append(copied_by(there) / max(1, len(batch.servers)))
        whole += int(np.count_nonzero(~np.isnan(snapshot.values[:, -ENCODER]).all(axis=1)))
    assert there.working_bytes >= 80 * ENCODER * (2 * 4 + 1), "the window of the model's two metrics, and its statuses"
    assert sizes >= {0, 1, 2}, "the fleet grew over the sizes of three graphs"
    assert whole > 1000
    assert np.median(copied) < 2, "of twelve cells of a server, one is new"


def copied_by(predictor: Predictor) -> int:
    assert isinstance(predictor._sweep, DeviceSweep)
    return predictor._sweep.copied_cells


def test_a_snapshot_that_was_changed_or_is_old_is_forecast_as_it_is() -> None:
    """Counterfactuals change the snapshot that they explain, and a canary may look at one that is not the newest."""
    spec, window = network_spec(), make_window()
    there, here = predictor(spec, "static"), predictor(spec, "folded")
    batches = list(restless_fleet())
    for batch in batches[:20]:
        window.apply(batch)
    older = window.snapshot()
    window.apply(batches[20])
    newer = window.snapshot()
    otherwise = replace(newer, values=newer.values * np.float32(0.5))
    for snapshot in (newer, otherwise, older, newer):
        np.testing.assert_allclose(there.predict(snapshot).values, here.predict(snapshot).values, rtol=0, atol=ABSOLUTE)


@pytest.mark.slow
def test_two_models_each_have_a_copy_of_their_own() -> None:
    """A candidate is tried while the live model forecasts, and after a swap it copies the window once."""
    window = make_window()
    spec = network_spec()
    only_cpu = network_spec(targets=("cpu_user_pct",))
    live, candidate = predictor(spec, "static"), predictor(only_cpu, "static", seed=2)
    plain = predictor(spec, "folded"), predictor(only_cpu, "folded", seed=2)
    for tick, batch in enumerate(restless_fleet()):
        window.apply(batch)
        for ours, theirs in zip((live, candidate), plain, strict=True):
            if ours is candidate and tick % 10:
                continue
            snapshot = window.snapshot()
            np.testing.assert_allclose(
                ours.predict(snapshot).values, theirs.predict(snapshot).values, rtol=0, atol=ABSOLUTE
            )


def test_a_window_that_lacks_a_metric_is_refused() -> None:
    spec = network_spec(targets=("swap_used_pct",))
    window = make_window()
    window.apply(next(restless_fleet()))
    with pytest.raises(ValueError, match="swap_used_pct"):
        predictor(spec, "static").predict(window.snapshot())


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_that_are_built_on_the_device_are_the_same_bit_for_bit(case: Case, device: str) -> None:
    fleet = replace(case.fleet, begins=(0,) * len(case.fleet.servers))
    snapshot = fleet.window()
    snapshot.values[1, 5:8] = np.nan
    snapshot.values[2, 3, 0] = np.nan
    snapshot.values[3, :, -1] = np.nan
    features = Features(case.spec)
    rows = features.warm_rows(snapshot)
    values = torch.from_numpy(snapshot.values[rows][..., features.columns(snapshot)]).to(device)
    statuses = torch.from_numpy(snapshot.statuses[rows]).to(device)
    there = features.build_whole(snapshot, rows, values=values, statuses=statuses)
    here = features.build(snapshot, rows)
    exact = device == "cpu" or case.static_scales
    for name in ("encoder_cat", "encoder_cont", "encoder_lengths", "decoder_cat", "decoder_cont"):
        tolerance = 0 if exact else 4e-6
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), rtol=0, atol=tolerance)
    for one, other in zip(there.output_scales, here.output_scales, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=0, atol=0 if exact else 4e-6)
    np.testing.assert_array_equal(there.measured, here.measured)
