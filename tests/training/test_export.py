"""What a trained network of pytorch-forecasting becomes: a config.json and weights that are all a forecast needs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from pytorch_forecasting import MAE, NaNLabelEncoder, QuantileLoss
from pytorch_forecasting.data.encoders import EncoderNormalizer, GroupNormalizer, MultiNormalizer, TorchNormalizer
from pytorch_forecasting.metrics import MultiLoss
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from support.library import (
    ENCODER,
    HORIZON,
    METRICS,
    QUANTILES,
    Fleet,
    Reference,
    live_fleet,
    open_encoders,
    reference,
    train_a_little,
)
from support.networks import INTERVAL_SECONDS, parse_weights, weights_file
from support.optional import not_none

from nordiq_watch.errors import DatasetError
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.export import export_model

pytestmark = pytest.mark.slow

CPU, MEM = METRICS[:2]


def export(trained: Reference, **changes: Any) -> tuple[ModelSpec, dict[str, torch.Tensor]]:
    arguments: dict[str, Any] = {
        "interval_seconds": INTERVAL_SECONDS,
        "metrics": trained.dataset.target_names,
        "fill_values": {CPU: 12.5},
        "created_at": "2025-01-30T14:30:00Z",
        "training_config": {"epochs": 3},
    }
    return export_model(trained.model, trained.dataset, **(arguments | changes))


def last_value() -> EncoderNormalizer:
    return EncoderNormalizer(max_length=[1, ENCODER], transformation="relu")


def scale_by_server() -> GroupNormalizer:
    return GroupNormalizer(groups=["server_name"])


@pytest.fixture(scope="module")
def untrained() -> Reference:
    return reference(targets=[CPU, MEM], normalizer=MultiNormalizer([last_value(), last_value()]))


@pytest.mark.slow
class TestATrainedNetwork:
    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls) -> Reference:
        """Really trained, if only for some batches, on histories of all lengths."""
        return train_a_little(
            reference(
                targets=METRICS,
                normalizer=MultiNormalizer([last_value() for _ in METRICS]),
                dataset={"randomize_length": True},
                network={"lstm_layers": 2, "learning_rate": 0.02, "dropout": 0.1},
            )
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("fleet", [live_fleet(unknown=True, short=False), live_fleet(unknown=True, short=True)])
    def test_is_rebuilt_from_its_files_alone(self, trained: Reference, fleet: Fleet) -> None:
        spec, tensors = export(trained)
        config, weights = msgspec.json.encode(spec), weights_file(tensors)
        predictor = Predictor(msgspec.json.decode(config, type=ModelSpec), parse_weights(weights), device="cpu")
        forecast = predictor.predict(fleet.window())
        library, exact = trained.predict(fleet), trained.predict_exactly(fleet)
        assert [fleet.servers[row] for row in forecast.rows] == list(fleet.servers)
        for server, ours in zip(fleet.servers, forecast.values, strict=True):
            library_error = np.abs(library[server] - exact[server]).max()
            assert np.abs(ours - exact[server]).max() <= max(1e-4, library_error)
            assert np.abs(ours - library[server]).max() <= max(1e-4, 2 * library_error)

    def test_has_learnt_something(self, trained: Reference) -> None:
        """Or its quantiles would lie anywhere, and the comparison would be with noise."""
        forecasts = np.stack(list(trained.predict(live_fleet(unknown=False, short=False)).values()))
        assert (forecasts[..., 2] > forecasts[..., 0]).mean() > 0.9


class TestTheSpec:
    def test_says_what_the_dataset_and_the_caller_say(self, untrained: Reference) -> None:
        spec, _ = export(untrained)
        assert (spec.max_encoder_length, spec.min_encoder_length) == (ENCODER, ENCODER // 2)
        assert (spec.max_prediction_length, spec.quantiles) == (HORIZON, QUANTILES)
        assert (spec.interval_seconds, spec.created_at) == (INTERVAL_SECONDS, "2025-01-30T14:30:00Z")
        assert spec.targets == spec.metrics == (CPU, MEM)
        assert (spec.fill_values, spec.training_config) == ({CPU: 12.5}, {"epochs": 3})
        assert spec.framework["pytorch-forecasting"].startswith("1.")
        assert spec.model_type == "TemporalFusionTransformer"

    def test_metrics_begin_with_the_targets(self) -> None:
        trained = reference(normalizer=last_value(), dataset={"time_varying_unknown_reals": list(METRICS)})
        spec, _ = export(trained, metrics=(MEM, "load_average", CPU))
        assert spec.metrics == (CPU, MEM, "load_average")

    def test_labels_keep_their_codes(self, untrained: Reference) -> None:
        spec, _ = export(untrained)
        profiles = spec.categorical_encoders["profile"]
        assert (profiles.classes, profiles.unknown_code) == (("nan", "Database", "Web API"), 0)
        assert set(spec.categorical_encoders) == {"server_name", "profile", "status"}

    def test_a_closed_encoder_has_no_code_for_the_unknown(self) -> None:
        closed = open_encoders("server_name", "status")
        spec, _ = export(reference(normalizer=last_value(), dataset={"categorical_encoders": closed}))
        profiles = spec.categorical_encoders["profile"]
        assert (profiles.classes, profiles.unknown_code) == (("Database", "Web API"), None)

    def test_scalers_keep_their_numbers(self) -> None:
        scalers = {"hour_cos": None, MEM: RobustScaler(), "load_average": StandardScaler(with_mean=False)}
        trained = reference(
            normalizer=last_value(), dataset={"time_varying_unknown_reals": list(METRICS), "scalers": scalers}
        )
        spec, _ = export(trained, metrics=METRICS)
        fitted = trained.dataset._scalers
        robust, unshifted = spec.real_scalers[MEM], spec.real_scalers["load_average"]
        assert (robust.center, robust.scale) == (fitted[MEM].center_[0], fitted[MEM].scale_[0])
        assert (unshifted.center, unshifted.scale) == (0.0, fitted["load_average"].scale_[0])
        assert spec.real_scalers["hour_sin"].center == fitted["hour_sin"].mean_[0]
        assert not {"hour_cos", "relative_time_idx", "encoder_length", CPU} & set(spec.real_scalers)

    def test_one_scale_for_all_comes_from_a_normalizer_without_groups(self) -> None:
        trained = reference(
            targets=[CPU, MEM], normalizer=MultiNormalizer([TorchNormalizer(), GroupNormalizer(transformation="log")])
        )
        spec, _ = export(trained)
        torch_normalizer, group_normalizer = trained.dataset.target_normalizers
        fixed, logarithmic = spec.target_normalizers[CPU], spec.target_normalizers[MEM]
        assert fixed.kind == logarithmic.kind == "fixed"
        assert list(msgspec.to_builtins(fixed.missing)) == pytest.approx(torch_normalizer.get_parameters().tolist())
        assert msgspec.to_builtins(logarithmic.missing) == list(group_normalizer.norm_.values())
        assert logarithmic.transformation == "log"


class TestScalesByServer:
    def test_have_a_row_for_each_server_and_one_for_new_ones(self) -> None:
        closed = open_encoders("profile", "status")
        trained = reference(normalizer=scale_by_server(), dataset={"categorical_encoders": closed})
        normalizer = export(trained)[0].target_normalizers[CPU]
        norm = trained.dataset.target_normalizer.norm_
        assert list(not_none(normalizer.groups)) == [f"ppdb{number:03d}" for number in range(7)]
        assert normalizer.groups["ppdb003"].center == norm["center"].iloc[3]
        assert not_none(normalizer.missing).scale == norm["scale"].median()
        assert normalizer.output_groups is None

    def test_are_those_of_the_server_before_where_the_library_mixes_up_its_codes(self) -> None:
        normalizer = export(reference(normalizer=scale_by_server()))[0].target_normalizers[CPU]
        own, swapped = not_none(normalizer.groups), not_none(normalizer.output_groups)
        assert swapped["ppdb000"] == normalizer.missing
        for number in range(1, 7):
            assert swapped[f"ppdb{number:03d}"] == own[f"ppdb{number - 1:03d}"]


class TestTheTensors:
    def test_are_the_networks_under_all_their_names(self, untrained: Reference) -> None:
        _, tensors = export(untrained)
        state = untrained.model.state_dict()
        assert tensors.keys() == state.keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, state[name])
            assert tensor.is_contiguous()
            assert tensor.dtype == torch.float32

    def test_share_no_memory_with_the_network_or_with_each_other(self, untrained: Reference) -> None:
        _, tensors = export(untrained)
        addresses = [tensor.data_ptr() for tensor in tensors.values()]
        assert len(set(addresses)) == len(addresses)
        assert not set(addresses) & {parameter.data_ptr() for parameter in untrained.model.parameters()}


def twice(normalizer: Any) -> MultiNormalizer:
    return MultiNormalizer([normalizer, last_value()])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "lags": ({"dataset": {"lags": {CPU: [3]}}}, "lags"),
    "a static number of the dataset's own": (
        {"dataset": {"static_reals": ["load_average"]}},
        "x_reals names load_average",
    ),
    "a status that is known ahead": (
        {
            "dataset": {
                "time_varying_known_categoricals": ["status"],
                "time_varying_unknown_categoricals": [],
            }
        },
        "decoder names status",
    ),
    "the number of the slot": (
        {"dataset": {"time_varying_known_reals": ["time_idx"]}},
        "x_reals names time_idx",
    ),
    "another scaler": ({"dataset": {"scalers": {"hour_sin": MinMaxScaler()}}}, "scaler of hour_sin, MinMaxScaler"),
    "another loss": ({"network": {"loss": MAE(), "output_size": 1}}, "Train with QuantileLoss"),
    "a transformation of its own": (
        {"normalizer": EncoderNormalizer(transformation={"forward": torch.sqrt, "reverse": torch.square})},
        "the transformation of cpu_user_pct",
    ),
    "quantiles of its own": (
        {"normalizer": EncoderNormalizer(method="robust", method_kwargs={"upper": 0.9})},
        "has method_kwargs",
    ),
    "scales by profile": ({"normalizer": GroupNormalizer(groups=["profile"])}, "Group by server_name alone"),
    "a deviation of one value": (
        {"normalizer": EncoderNormalizer(max_length=[5, 1])},
        "measures a scale on 1 value",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_directory_has_no_words_for_is_refused_in_one_line(name: str) -> None:
    changes, problem = REFUSED[name]
    with pytest.raises(DatasetError, match=problem) as refusal:
        export(reference(**({"normalizer": last_value()} | changes)))
    assert "\n" not in str(refusal.value)


def test_a_label_as_target_is_refused() -> None:
    dataset = {
        "categorical_encoders": open_encoders("profile", "server_name"),
        "time_varying_unknown_reals": [],
        "time_varying_unknown_categoricals": [],
        "add_target_scales": False,
    }
    trained = reference(targets=["status"], normalizer=NaNLabelEncoder(), dataset=dataset, network={"output_size": 3})
    with pytest.raises(DatasetError, match="categorical targets"):
        export(trained)


def test_targets_with_different_quantiles_are_refused() -> None:
    loss = MultiLoss([QuantileLoss([0.1, 0.5, 0.9]), QuantileLoss([0.2, 0.5, 0.8])])
    trained = reference(targets=[CPU, MEM], normalizer=twice(last_value()), network={"loss": loss})
    with pytest.raises(DatasetError, match="different quantiles"):
        export(trained)


def test_a_metric_that_the_caller_did_not_name_is_refused() -> None:
    trained = reference(normalizer=last_value(), dataset={"time_varying_unknown_reals": [CPU, MEM]})
    with pytest.raises(DatasetError, match="x_reals names mem_used_pct"):
        export(trained, metrics=[CPU])
