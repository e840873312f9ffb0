"""The network's inputs, against those that TimeSeriesDataSet makes of the same window."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from support.network_cases import Case
from support.networks import A_MONDAY, busy_values, network_spec, snapshot_of

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import CategoricalEncoder, FleetCalendar, ModelSpec

pytestmark = pytest.mark.slow

ENCODER = 12
MEASURED_ON_EACH_ENCODER = 4e-6


def build(spec: ModelSpec, snapshot: WindowSnapshot) -> Inputs:
    features = Features(spec)
    return features.build(snapshot, features.warm_rows(snapshot))


def column(spec: ModelSpec, inputs: Inputs, name: str) -> torch.Tensor:
    return inputs.encoder_cont[..., spec.network.x_reals.index(name)]


class TestAgainstTheLibrary:
    @pytest.fixture
    def both(self, case: Case) -> tuple[dict[str, Any], Inputs]:
        """The library's x, and ours in its order of servers."""
        x, servers = case.library_inputs
        snapshot = case.fleet.window()
        rows = np.array([snapshot.servers.index(server) for server in servers])
        assert sorted(rows) == Features(case.spec).warm_rows(snapshot).tolist()
        return x, Features(case.spec).build(snapshot, rows)

    def test_the_encoders_are_the_same(self, case: Case, both: tuple[dict[str, Any], Inputs]) -> None:
        x, ours = both
        assert torch.equal(ours.encoder_lengths, x["encoder_lengths"])
        assert torch.equal(ours.encoder_cat, x["encoder_cat"])
        assert ours.encoder_cont.shape == x["encoder_cont"].shape
        self.assert_same(case, ours.encoder_cont, x["encoder_cont"])

    def test_what_is_known_of_the_horizon_is_the_same(self, case: Case, both: tuple[dict[str, Any], Inputs]) -> None:
        x, ours = both
        network = case.spec.network
        reals = [network.x_reals.index(n) for n in (*network.static_reals, *network.time_varying_reals_decoder)]
        labels = [network.x_categoricals.index(name) for name in network.static_categoricals]
        assert torch.equal(ours.decoder_cat[..., labels], x["decoder_cat"][..., labels])
        self.assert_same(case, ours.decoder_cont[..., reals], x["decoder_cont"][..., reals])

    def test_the_output_is_unscaled_with_the_same(self, case: Case, both: tuple[dict[str, Any], Inputs]) -> None:
        x, ours = both
        scales = x["target_scale"] if len(case.targets) > 1 else [x["target_scale"]]
        repeatable = [server not in case.unrepeatable for server in case.library_inputs[1]]
        for our_scale, scale in zip(ours.output_scales, scales, strict=True):
            assert (our_scale - scale)[repeatable].abs().max() <= MEASURED_ON_EACH_ENCODER

    @staticmethod
    def assert_same(case: Case, ours: torch.Tensor, library: torch.Tensor) -> None:
        if case.static_scales:
            assert torch.equal(ours, library)
        else:
            torch.testing.assert_close(ours, library, rtol=0, atol=MEASURED_ON_EACH_ENCODER)


class TestWarmRows:
    spec = network_spec()  # 6 samples of 12

    def warm(self, values: np.ndarray, **changes: Any) -> list[int]:
        return Features(self.spec).warm_rows(snapshot_of(values, **changes)).tolist()

    def test_a_server_is_warm_from_its_sixth_sample_on(self) -> None:
        values = busy_values(3, ENCODER)
        values[0, :6], values[1, :7] = np.nan, np.nan
        assert self.warm(values) == [0, 2]

    def test_samples_with_gaps_between_them_count_one_by_one(self) -> None:
        values = busy_values(2, ENCODER)
        values[0, ::2] = np.nan
        values[1, ::2], values[1, 1] = np.nan, np.nan
        assert self.warm(values) == [0]

    def test_one_measured_metric_makes_a_sample(self) -> None:
        values = busy_values(1, ENCODER)
        values[0, :, 1] = np.nan
        assert self.warm(values) == [0]

    def test_metrics_that_the_model_does_not_read_make_none(self) -> None:
        values = busy_values(1, ENCODER, 3)
        values[0, :, :2] = np.nan
        assert self.warm(values, metrics=("cpu_user_pct", "mem_used_pct", "load_average")) == []

    def test_slots_before_the_encoder_do_not_count(self) -> None:
        values = busy_values(1, 40)
        values[0, -7:] = np.nan
        assert self.warm(values) == []

    def test_half_of_the_encoder_is_enough_unless_the_model_says_otherwise(self) -> None:
        values = busy_values(2, ENCODER)
        values[0, :6], values[1, :7] = np.nan, np.nan
        spec = network_spec(min_encoder_length=None)
        assert Features(spec).warm_rows(snapshot_of(values)).tolist() == [0]
        spec = network_spec(min_encoder_length=5)
        assert Features(spec).warm_rows(snapshot_of(values)).tolist() == [0, 1]


class TestLabels:
    def test_labels_that_the_network_does_not_know_get_the_class_for_the_unknown(self) -> None:
        statuses = np.tile([STATUSES.index("idle"), STATUSES.index("recovery")], (2, 6))
        snapshot = snapshot_of(busy_values(2, ENCODER), profiles=("Database", "New"), statuses=statuses)
        inputs = build(network_spec(), snapshot)
        profile, status = inputs.encoder_cat.unbind(dim=-1)
        assert profile[:, 0].tolist() == inputs.decoder_cat[:, -1, 0].tolist() == [1, 0]
        assert status[0].tolist() == [2, 0] * 6

    def test_a_server_with_such_a_label_is_left_out_where_there_is_no_such_class(self) -> None:
        closed = CategoricalEncoder(classes=("Database", "Generic", "Other"))
        spec = network_spec()
        encoders = spec.categorical_encoders | {"profile": closed}
        features = Features(msgspec.structs.replace(spec, categorical_encoders=encoders))
        snapshot = snapshot_of(busy_values(3, ENCODER), profiles=("Database", "New", "Generic"))
        assert features.warm_rows(snapshot).tolist() == [0, 2]

    def test_so_is_one_with_such_a_status_in_its_encoder(self) -> None:
        closed = CategoricalEncoder(classes=("healthy", "idle", "offline", "recovery"))
        spec = network_spec()
        encoders = spec.categorical_encoders | {"status": closed}
        features = Features(msgspec.structs.replace(spec, categorical_encoders=encoders))
        statuses = np.ones((2, 20), dtype=np.uint8)
        statuses[0, 9], statuses[1, 7] = 0, 0  # of 20 slots the encoder has the last 12
        snapshot = snapshot_of(busy_values(2, 20), statuses=statuses)
        assert features.warm_rows(snapshot).tolist() == [1]


class TestHistories:
    def test_an_encoder_begins_with_its_first_sample_and_ends_with_the_fleets_newest_slot(self) -> None:
        values = busy_values(2, ENCODER)
        values[0, :4], values[0, 10:] = np.nan, np.nan
        spec = network_spec()
        inputs = build(spec, snapshot_of(values))
        assert inputs.encoder_lengths.tolist() == [8, 12]
        relative = column(spec, inputs, "relative_time_idx") * ENCODER
        assert relative[0].round().tolist() == [-8, -7, -6, -5, -4, -3, -2, -1, 0, 0, 0, 0]
        assert not inputs.encoder_cont[0, 8:].any()

    def test_gaps_are_filled_and_metrics_that_were_never_measured_take_the_models_value(self) -> None:
        spec = network_spec(fill_values={"mem_used_pct": 33.0})
        values = busy_values(1, ENCODER)
        values[0, 3:5], values[0, :, 1] = np.nan, np.nan
        filled = values.copy()
        filled[0, 3:5] = values[0, 2]
        filled[0, :, 1] = 33.0
        gaps, no_gaps = build(spec, snapshot_of(values)), build(spec, snapshot_of(filled))
        assert torch.equal(gaps.encoder_cont, no_gaps.encoder_cont)
        assert gaps.measured.tolist() == [[True, False]]
        assert no_gaps.measured.tolist() == [[True, True]]

    def test_metrics_are_found_by_name(self) -> None:
        values = busy_values(2, ENCODER, 3)
        spec = network_spec()
        there = build(spec, snapshot_of(values[..., :2]))
        turned = build(spec, snapshot_of(values[..., ::-1], metrics=("load_average", "mem_used_pct", "cpu_user_pct")))
        assert torch.equal(there.encoder_cont, turned.encoder_cont)

    def test_a_window_longer_than_the_encoder_gives_the_same_as_its_end(self) -> None:
        values, spec = busy_values(2, 40), network_spec()
        long, cut = build(spec, snapshot_of(values)), build(spec, snapshot_of(values[:, -ENCODER:]))
        assert torch.equal(long.encoder_cont, cut.encoder_cont)

    def test_the_calendar_is_the_models_own(self) -> None:
        calendar = FleetCalendar(zone="Asia/Tokyo", holidays=(datetime.fromtimestamp(A_MONDAY * 300, UTC).date(),))
        spec = network_spec(calendar=calendar)
        inputs = build(spec, snapshot_of(busy_values(1, ENCODER), last_slot=A_MONDAY - 9 * 12 + 5))
        by_name = dict(zip(spec.network.x_reals, inputs.decoder_cont[0].unbind(dim=-1), strict=True))
        assert by_name["is_holiday"].tolist() == [1, 1, 1, 1]
        assert column(spec, inputs, "is_holiday")[0].tolist() == [0] * 6 + [1] * 6
        np.testing.assert_allclose(by_name["hour_sin"], np.sin(np.arange(6, 10) * 2 * np.pi / 288), atol=1e-6)

    def test_the_calendar_is_that_of_each_slot(self) -> None:
        spec = network_spec()
        inputs = build(spec, snapshot_of(busy_values(1, ENCODER), last_slot=A_MONDAY + 5))
        position = spec.network.x_reals.index("hour_sin")
        turn = 2 * np.pi / 288
        np.testing.assert_allclose(inputs.encoder_cont[0, :, position], np.sin(np.arange(-6, 6) * turn), atol=1e-6)
        np.testing.assert_allclose(inputs.decoder_cont[0, :, position], np.sin(np.arange(6, 10) * turn), atol=1e-6)
