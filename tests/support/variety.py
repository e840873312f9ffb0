"""Networks of every shape that the trainer and others can make, and inputs such as a window gives them."""

from __future__ import annotations

import numpy as np
import torch

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.fused_selection import SHARED
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.spec import ModelSpec
from support.networks import network_spec, with_network

ENCODER, HORIZON, SERVERS = 12, 4, 5
LENGTHS = torch.tensor([12, 7, 1, 12, 9])


def inputs_of(spec: ModelSpec, *, seed: int = 0, lengths: torch.Tensor = LENGTHS) -> dict[str, torch.Tensor]:
    """What the network's `forward` takes. As in a window, all encoders end at one slot, at which what is known ahead is
    the same for all, and what is static does not change; all else is noise. lengths (servers,): the first one is whole.
    """
    servers = len(lengths)
    chance = torch.Generator().manual_seed(seed)
    network = spec.network

    def codes(steps: int) -> torch.Tensor:
        columns = []
        for name in network.x_categoricals:
            length = 1 if name in network.static_categoricals else steps
            drawn = torch.randint(network.embedding_sizes[name][0], (servers, length), generator=chance)
            columns.append(drawn.expand(-1, steps))
        return torch.stack(columns, dim=-1) if columns else torch.empty(servers, steps, 0, dtype=torch.int64)

    past = torch.randn(servers, ENCODER, len(network.x_reals), generator=chance)
    future = torch.randn(servers, HORIZON, len(network.x_reals), generator=chance)
    for column, name in enumerate(network.x_reals):
        if name in SHARED:
            future[..., column] = future[0, :, column]
            for row, length in enumerate(lengths.tolist()):
                past[row, :length, column] = past[0, ENCODER - length :, column].clone()
        elif name in network.static_reals:
            past[..., column] = past[:, :1, column]
    return {
        "encoder_cat": codes(ENCODER),
        "encoder_cont": past,
        "encoder_lengths": lengths,
        "decoder_cat": codes(HORIZON),
        "decoder_cont": future,
    }


def as_inputs(inputs: dict[str, torch.Tensor]) -> Inputs:
    """The same, as a forward.Forward takes it."""
    lengths = inputs["encoder_lengths"]
    past = HistoryInputs(inputs["encoder_cont"], lengths, torch.zeros(1, dtype=torch.int64))
    return Inputs(**inputs, output_scales=(), measured=np.ones((len(lengths), 1), dtype=np.bool_), past=past)


def build(spec: ModelSpec, weights: dict[str, torch.Tensor]) -> TemporalFusionTransformer:
    network = TemporalFusionTransformer(spec.network)
    network.load_state_dict(weights, strict=True)
    return network.eval()


SPECS = {
    "the trainer's": network_spec(),
    "one target": network_spec(targets=["cpu_user_pct"]),
    "two LSTM layers": with_network(network_spec(), lstm_layers=2),
    "one head": with_network(network_spec(), attention_head_size=1),
    "sizes that do not divide": with_network(
        network_spec(), hidden_size=10, attention_head_size=3, hidden_continuous_size=12
    ),
    "embeddings of the hidden size": with_network(
        network_spec(), embedding_sizes={"profile": (3, 8), "status": (4, 8)}, hidden_continuous_size=8
    ),
    "looking ahead": with_network(network_spec(), causal_attention=False),
    "shared networks": with_network(network_spec(), share_single_variable_networks=True),
    "sizes by name": with_network(network_spec(), hidden_continuous_sizes={"hour_cos": 3, "cpu_user_pct": 16}),
    "one variable of each kind": with_network(
        network_spec(),
        static_categoricals=("profile",),
        static_reals=(),
        time_varying_categoricals_encoder=(),
        time_varying_reals_encoder=("cpu_user_pct",),
        time_varying_reals_decoder=("hour_sin",),
    ),
    "nothing known": with_network(
        network_spec(), static_categoricals=(), static_reals=(), time_varying_reals_decoder=()
    ),
    "scalars as wide as one": with_network(
        network_spec(), hidden_continuous_size=1, static_categoricals=(), time_varying_categoricals_encoder=()
    ),
}
