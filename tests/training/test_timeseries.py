from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from msgspec.structs import replace
from support.small_fleet import FIRST_SLOT, TINY, fleet_of, series_of, wavy

from nordiq_watch.config.training import CalendarSettings
from nordiq_watch.errors import ConfigError, DatasetError
from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import CALENDAR, calendar_input
from nordiq_watch.spec import CategoricalEncoder, ModelSpec, NetworkSpec, RealScaler
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.skeleton import fleet_calendar, min_encoder_length
from nordiq_watch.training.timeseries import Split, split_by_time

SLOTS = 100
NEEDED = 6 + 4  # half of TINY's encoder and its horizon


def fleet(slots: int = SLOTS, **more: Any) -> FleetData:
    return fleet_of(series_of(wavy(slots), server="a", **more), series_of(wavy(slots, seed=1), server="b", **more))


def previous_spec(**fields: Any) -> ModelSpec:
    network = NetworkSpec(
        hidden_size=8, lstm_layers=1, attention_head_size=2, hidden_continuous_size=4, output_size=(7,), x_reals=()
    )
    basics: dict[str, Any] = {"format_version": 1, "model_type": "", "framework": {}, "created_at": ""}
    lengths: dict[str, Any] = {"interval_seconds": 300, "max_encoder_length": 12, "max_prediction_length": 4}
    outputs: dict[str, Any] = {"quantiles": (0.5,), "metrics": (), "targets": (), "target_normalizers": {}}
    return ModelSpec(**(basics | lengths | outputs | {"network": network} | fields))


def forecast_slots(split: Split) -> np.ndarray:
    """First slot that each validation window forecasts."""
    source = split.validation.source
    series, origins = source.spread(len(source))
    return np.array([source.series[number].first_slot for number in series]) + origins


def test_the_newest_fifth_is_for_validation() -> None:
    split = split_by_time(fleet(), config=TINY)
    assert split.cutoff_slot == FIRST_SLOT + 80
    assert split.origin_slot == FIRST_SLOT


def test_validation_is_never_shorter_than_one_horizon() -> None:
    config = replace(TINY, max_prediction_length=40)
    assert split_by_time(fleet(), config=config).cutoff_slot == FIRST_SLOT + 60


def test_training_sees_nothing_of_what_is_forecast_in_validation() -> None:
    split = split_by_time(fleet(), config=TINY)
    assert max(series.end_slot for series in split.training.source.series) == FIRST_SLOT + 80
    assert forecast_slots(split).min() == split.cutoff_slot
    assert forecast_slots(split).max() == FIRST_SLOT + SLOTS - TINY.max_prediction_length


def test_the_future_changes_nothing_that_training_uses() -> None:
    def split(future: float) -> Split:
        values = wavy(SLOTS)
        values[80:] = future
        return split_by_time(fleet_of(series_of(values)), config=TINY)

    one, other = split(1.0), split(99.0)
    for mine, theirs in zip(one.training.source.series, other.training.source.series, strict=True):
        np.testing.assert_array_equal(mine.values, theirs.values)
    assert one.fill_values == other.fill_values
    assert one.changes == other.changes
    for name, scaler in one.skeleton._scalers.items():
        if scaler is not None:
            assert scaler.mean_ == other.skeleton._scalers[name].mean_


def test_encoders_of_validation_reach_back_before_the_cutoff() -> None:
    split = split_by_time(fleet(), config=TINY)
    x, _ = split.validation.batch(split.validation.source.spread(1000))
    assert int(forecast_slots(split)[0]) == split.cutoff_slot
    assert int(x["encoder_lengths"][0]) == TINY.max_encoder_length


def test_the_inputs_are_those_that_the_daemon_can_build() -> None:
    split = split_by_time(fleet(statuses=[1] * SLOTS), config=TINY, per_server=True)
    training = split.skeleton
    assert training.target_names == ["cpu_user_pct", "mem_used_pct"]
    assert training._static_categoricals == ["profile", "server_name"]
    assert training._time_varying_unknown_categoricals == ["status"]
    assert training._time_varying_known_reals == [
        *("hour_sin", "hour_cos", "weekday_sin", "weekday_cos"),
        "relative_time_idx",
    ]
    assert training.min_encoder_length == min_encoder_length(TINY) == 6


def test_the_calendar_is_that_of_the_slots_and_not_scaled() -> None:
    split = split_by_time(fleet(), config=TINY)
    x, _ = split.training.batch(split.training.source.spread(10))
    slots = x["decoder_time_idx"].numpy() + FIRST_SLOT
    expected = calendar_input("hour_sin", slots, interval_seconds=300).astype(np.float32)
    np.testing.assert_array_equal(x["decoder_cont"][..., split.skeleton.reals.index("hour_sin")], expected)


def test_a_calendar_with_holidays_is_one_input_more_in_the_fleets_zone() -> None:
    there = datetime.fromtimestamp((FIRST_SLOT + 40) * 300, ZoneInfo("Asia/Tokyo")).date()
    calendar = CalendarSettings(zone="Asia/Tokyo", holidays=(there, there, date(2020, 1, 1)))
    config = replace(TINY, calendar=calendar)
    split = split_by_time(fleet(), config=config)
    assert split.skeleton._time_varying_known_reals == [*CALENDAR, "relative_time_idx"]
    assert fleet_calendar(config).holidays == (date(2020, 1, 1), there)
    x, _ = split.training.batch(split.training.source.spread(10))
    slots = x["decoder_time_idx"].numpy() + FIRST_SLOT
    for name in CALENDAR:
        expected = calendar_input(name, slots, interval_seconds=300, calendar=fleet_calendar(config))
        column = x["decoder_cont"][..., split.skeleton.reals.index(name)]
        np.testing.assert_array_equal(column, expected.astype(np.float32))


def test_one_metric_is_one_target() -> None:
    split = split_by_time(fleet_of(series_of(wavy(SLOTS, metrics=1))), config=TINY)
    assert not split.skeleton.multi_target
    assert len(split.changes) == 1


def test_a_metric_that_a_server_lacks_takes_the_fleets_median() -> None:
    lacking = wavy(SLOTS, seed=1)
    lacking[:, 1] = np.nan
    split = split_by_time(fleet_of(series_of(wavy(SLOTS)), series_of(lacking, server="b")), config=TINY)
    median = float(np.median(wavy(SLOTS)[:80, 1].astype(np.float64)))
    assert split.fill_values["mem_used_pct"] == median
    x, _ = split.training.batch(split.training.source.locate(np.array([len(split.training) - 1])))
    assert x["encoder_target"][1].unique().tolist() == [np.float32(median)]


def test_all_statuses_have_a_class_and_the_unknown_one_is_class_0() -> None:
    codes = np.arange(SLOTS) % len(STATUSES)
    split = split_by_time(fleet(statuses=codes), config=TINY)
    classes = split.skeleton.get_transformer("status").classes_
    assert classes["nan"] == 0
    assert set(classes) == {"nan", *STATUSES[1:]}
    x, _ = split.training.batch(split.training.source.locate(np.array([6])))
    column = split.skeleton.flat_categoricals.index("status")
    assert x["encoder_cat"][0, :, column].tolist() == [classes.get(STATUSES[code], 0) for code in codes[:12]]


def test_without_a_status_in_the_dataset_there_is_no_such_input() -> None:
    assert split_by_time(fleet(), config=TINY).skeleton.flat_categoricals == ["profile"]


def test_series_that_are_too_short_are_left_out() -> None:
    data = fleet_of(series_of(wavy(SLOTS), server="a"), series_of(wavy(NEEDED - 1), server="b"))
    assert split_by_time(data, config=TINY).servers == ("a",)


def test_a_server_that_came_later_is_validated_as_an_unknown_one() -> None:
    data = fleet_of(series_of(wavy(SLOTS)), series_of(wavy(15), server="new", first_slot=FIRST_SLOT + 85))
    split = split_by_time(data, config=TINY, per_server=True)
    assert [series.server for series in split.validation.source.series] == ["ppdb001", "new"]
    x, _ = split.validation.batch(split.validation.source.spread(1000))
    column = split.skeleton.flat_categoricals.index("server_name")
    assert x["decoder_cat"][[0, -1], 0, column].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (fleet(slots=11), "oldest 80 % the longest unbroken series has 7 slots"),
        (
            fleet_of(series_of(wavy(50)), series_of(wavy(9), first_slot=FIRST_SLOT + 91)),
            "newest 20 % and half an encoder before it the longest unbroken series has 9 slots",
        ),
    ],
)
def test_too_short_says_both_numbers_and_what_to_change(data: FleetData, found: str) -> None:
    with pytest.raises(DatasetError) as caught:
        split_by_time(data, config=TINY)
    message = str(caught.value)
    for words in (found, "6 (half of the encoder) + 4 = 10", "training.max_encoder_length (12)", "somewhere"):
        assert words in message


@pytest.mark.parametrize("name", ["cpu", "half", "train", "type", "profile", "hour_sin", "encoder_length"])
def test_a_name_that_the_network_uses_itself_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"metrics: '{name}' is a word that the network uses itself"):
        split_by_time(fleet_of(series_of(wavy(SLOTS, metrics=1)), metrics=[name]), config=TINY)


def test_a_name_that_another_metrics_scale_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="'load_scale'"):
        split_by_time(fleet_of(series_of(wavy(SLOTS)), metrics=["load", "load_scale"]), config=TINY)


def test_the_predecessors_labels_and_scalers_are_kept() -> None:
    previous = previous_spec(
        categorical_encoders={"server_name": CategoricalEncoder(classes=("nan", "z", "b"), unknown_code=0)},
        real_scalers={"cpu_user_pct_center": RealScaler(center=-5.0, scale=3.0)},
    )
    training = split_by_time(fleet(), config=TINY, per_server=True, previous=previous).skeleton
    assert training.get_transformer("server_name").classes_ == {"nan": 0, "z": 1, "b": 2, "a": 3}
    scaler = training.get_transformer("cpu_user_pct_center")
    assert (scaler.mean_.tolist(), scaler.scale_.tolist()) == ([-5.0], [3.0])
