"""The network alone, against pytorch-forecasting's, on inputs that no dataset made."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from pytorch_forecasting import QuantileLoss
from pytorch_forecasting import TemporalFusionTransformer as Library
from pytorch_forecasting.metrics import MultiLoss
from support.networks import network_spec, random_weights
from support.variety import ENCODER, HORIZON, LENGTHS, SERVERS, SPECS, build, inputs_of

from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.spec import ModelSpec


def library_network(spec: ModelSpec) -> Library:
    """The library's network of the same hyperparameters, with its own names for them."""
    network = spec.network
    hyperparameters = {name: getattr(network, name) for name in network.__struct_fields__}
    hyperparameters = {
        name: list(value) if isinstance(value, tuple) else value for name, value in hyperparameters.items()
    }
    several = len(network.output_size) > 1
    quantiles = QuantileLoss(list(spec.quantiles))
    hyperparameters["output_size"] = list(network.output_size) if several else network.output_size[0]
    loss = MultiLoss([quantiles for _ in network.output_size]) if several else quantiles
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lightning about the library
        return Library(**hyperparameters, loss=loss, max_encoder_length=ENCODER, logging_metrics=torch.nn.ModuleList())


def ask_library(model: Library, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """All that it returns, the prediction before scaling: `transform_output` is left out."""
    model.transform_output = lambda prediction, target_scale: prediction
    x = dict(inputs, decoder_lengths=torch.full((SERVERS,), HORIZON), target_scale=None)
    with torch.no_grad():
        return dict(model.eval()(x))


def library_output(model: Library, inputs: dict[str, torch.Tensor], targets: int) -> torch.Tensor:
    """(servers, targets, horizon, quantiles)."""
    output = ask_library(model, inputs)["prediction"]
    return torch.stack(output if targets > 1 else [output], dim=1)


@pytest.mark.parametrize("name", SPECS)
class TestAgainstTheLibrary:
    def test_names_and_shapes_are_the_same(self, name: str) -> None:
        spec = SPECS[name]
        ours = {key: value.shape for key, value in TemporalFusionTransformer(spec.network).state_dict().items()}
        library = {key: value.shape for key, value in library_network(spec).state_dict().items()}
        assert ours == library

    def test_outputs_are_the_same(self, name: str) -> None:
        spec = SPECS[name]
        weights, inputs = random_weights(spec, seed=3), inputs_of(spec)
        library = library_network(spec)
        library.load_state_dict(weights, strict=True)
        expected = library_output(library, inputs, len(spec.targets))
        with torch.no_grad():
            output = build(spec, weights)(**inputs)
        assert output.shape == (SERVERS, len(spec.targets), HORIZON, len(spec.quantiles))
        torch.testing.assert_close(output, expected, rtol=0, atol=5e-6)

    def test_attention_and_variable_weights_are_the_same(self, name: str) -> None:
        spec = SPECS[name]
        weights, inputs = random_weights(spec, seed=3), inputs_of(spec)
        library = library_network(spec)
        library.load_state_dict(weights, strict=True)
        expected = ask_library(library, inputs)
        with torch.no_grad():
            _, insight = build(spec, weights).look_inside(**inputs)
        heads = torch.cat([expected["encoder_attention"], expected["decoder_attention"]], dim=-1)
        torch.testing.assert_close(insight.attention, heads.mean(dim=2), rtol=0, atol=5e-6)
        for ours, theirs in (
            (insight.encoder_weights, expected["encoder_variables"]),
            (insight.decoder_weights, expected["decoder_variables"]),
        ):
            if ours.shape[-1] > 0:  # without variables the library makes up one of weight 0
                torch.testing.assert_close(ours, theirs.squeeze(-2), rtol=0, atol=5e-6)


def test_what_stands_behind_a_short_history_has_no_effect() -> None:
    spec = network_spec()
    network, inputs = build(spec, random_weights(spec)), inputs_of(spec)
    with torch.no_grad():
        before = network(**inputs)
        behind = torch.arange(ENCODER) >= LENGTHS[:, None]
        inputs["encoder_cont"][behind] = 1e6
        inputs["encoder_cat"][behind] = 0
        assert torch.equal(network(**inputs), before)


def test_one_server_is_forecast_alone_as_among_others() -> None:
    spec = network_spec()
    network, inputs = build(spec, random_weights(spec)), inputs_of(spec)
    with torch.no_grad():
        together = network(**inputs)
        alone = network(**{name: tensor[1:2] for name, tensor in inputs.items()})
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-6)
