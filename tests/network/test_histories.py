"""Encoders taken from windows; tests/network/test_features.py compares them with the library's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.networks import busy_values, network_spec, snapshot_of

from nordiq_watch.network.histories import Histories

ENCODER = 12


def test_an_encoder_is_moved_to_the_left_and_repeats_its_last_slot() -> None:
    values = busy_values(2, ENCODER)
    values[0, :4] = np.nan
    history = Histories(network_spec()).cut(snapshot_of(values), np.array([0, 1]))
    assert history.lengths.tolist() == [8, 12]
    assert history.slots[0].tolist() == [*range(history.last_slot - 7, history.last_slot + 1)] + 4 * [history.last_slot]
    np.testing.assert_array_equal(history.values[0, :8], values[0, 4:])
    np.testing.assert_array_equal(history.values[0, 8:], np.repeat(values[0, -1:], 4, axis=0))


def test_whole_encoders_are_the_same_taken_either_way() -> None:
    values = busy_values(3, ENCODER)
    values[1, 5] = np.nan
    snapshot, rows = snapshot_of(values), np.array([2, 1])
    histories = Histories(network_spec())
    statuses = torch.from_numpy(snapshot.statuses[rows])
    cut, whole = (
        histories.cut(snapshot, rows),
        histories.take_whole(snapshot, rows, values=torch.from_numpy(values[rows]), statuses=statuses),
    )
    assert (cut.servers, cut.profiles, cut.last_slot) == (whole.servers, whole.profiles, whole.last_slot)
    assert torch.equal(cut.values, whole.values)
    assert torch.equal(cut.statuses, whole.statuses)
    assert torch.equal(cut.lengths, whole.lengths)
    assert np.array_equal(cut.slots, np.broadcast_to(whole.slots, cut.slots.shape))
    assert np.array_equal(cut.measured, whole.measured)


def test_variants_are_rows_of_the_same_server() -> None:
    known = Histories(network_spec()).cut(snapshot_of(busy_values(2, ENCODER)), np.array([1]))
    others = torch.zeros(3, ENCODER, 2)
    varied = known.vary(others)
    assert varied.values is others
    assert (list(varied.servers), varied.lengths.tolist()) == ([known.servers[0]] * 3, [ENCODER] * 3)
    assert varied.slots.shape == varied.statuses.shape == (3, ENCODER)


class TestWindowsOfAnotherKind:
    def test_a_window_without_a_metric_of_the_model_is_refused_by_name(self) -> None:
        snapshot = snapshot_of(busy_values(1, ENCODER, 1), metrics=("mem_used_pct",))
        with pytest.raises(ValueError, match="does not have the model's metrics cpu_user_pct"):
            Histories(network_spec()).columns(snapshot)

    def test_a_window_of_another_interval_is_refused_with_both_numbers(self) -> None:
        snapshot = replace(snapshot_of(busy_values(1, ENCODER)), interval_seconds=60)
        with pytest.raises(ValueError, match=r"60 s.*300 s"):
            Histories(network_spec()).columns(snapshot)
