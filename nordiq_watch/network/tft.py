"""The Temporal Fusion Transformer, for inference: https://arxiv.org/abs/1912.09363 as pytorch-forecasting builds it.

Every parameter has pytorch-forecasting's name and shape, so loading its `state_dict` strictly proves that this is the
same network; the tests compare the outputs. Some modules stand under several names (prescalers, the gate and the norm
after the LSTM) because they do so there. There is no dropout: nothing is trained here.

Sizes in comments: servers, steps (encoder, horizon or both), hidden = hidden_size, inputs = variables selected from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nordiq_watch.network.tft_layers import (
    AddNorm,
    GateAddNorm,
    GatedLinearUnit,
    GatedResidualNetwork,
    InterpretableAttention,
    VariableSelection,
    single_variable_grn,
)
from nordiq_watch.spec import NetworkSpec


@dataclass(frozen=True, slots=True)
class Insight:
    """What the network weighed while it answered: the paper's two interpretable parts (section 4.2 and 4.4).

    attention (servers, horizon, encoder + horizon): the mean of the heads; each row adds up to 1, 0 where a query must
    not look. encoder_weights (servers, encoder, inputs) and decoder_weights (servers, horizon, inputs): the shares of
    the variables, in the order of each selection's `names`; they add up to 1 as well, also behind a row's length.
    """

    attention: Tensor
    encoder_weights: Tensor
    decoder_weights: Tensor


class TemporalFusionTransformer(nn.Module):
    """Labels and scaled numbers of past and future in, scaled quantiles out."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        size = spec.hidden_size
        self.input_embeddings = nn.ModuleDict({"embeddings": _embeddings(spec)})
        self.prescalers = _prescalers(spec)
        self._add_selections()
        self.static_context_variable_selection = GatedResidualNetwork(size, size, size)
        self.static_context_initial_hidden_lstm = GatedResidualNetwork(size, size, size)
        self.static_context_initial_cell_lstm = GatedResidualNetwork(size, size, size)
        self.static_context_enrichment = GatedResidualNetwork(size, size, size)

        self.lstm_encoder = nn.LSTM(size, size, spec.lstm_layers, batch_first=True)
        self.lstm_decoder = nn.LSTM(size, size, spec.lstm_layers, batch_first=True)
        self.post_lstm_gate_encoder = self.post_lstm_gate_decoder = GatedLinearUnit(size, size)
        self.post_lstm_add_norm_encoder = self.post_lstm_add_norm_decoder = AddNorm(size)

        self.static_enrichment = GatedResidualNetwork(size, size, size, context_size=size)
        self.multihead_attn = InterpretableAttention(size, spec.attention_head_size)
        self.post_attn_gate_norm = GateAddNorm(size, size)
        self.pos_wise_ff = GatedResidualNetwork(size, size, size)
        self.pre_output_gate_norm = GateAddNorm(size, size)
        layers = [nn.Linear(size, output_size) for output_size in spec.output_size]
        self.output_layer = nn.ModuleList(layers) if len(layers) > 1 else layers[0]

    def _add_selections(self) -> None:
        """Variable selection of static, past and future inputs."""
        spec, size = self.spec, self.spec.hidden_size
        past = (*spec.time_varying_categoricals_encoder, *spec.time_varying_reals_encoder)
        future = (*spec.time_varying_categoricals_decoder, *spec.time_varying_reals_decoder)
        shared_grns = nn.ModuleDict()
        if spec.share_single_variable_networks:
            for name, input_size in _input_sizes(spec, (*past, *future)).items():
                shared_grns[name] = single_variable_grn(input_size, size)
            self.shared_single_variable_grns = shared_grns
        self.static_variable_selection = VariableSelection(
            _input_sizes(spec, (*spec.static_categoricals, *spec.static_reals)),
            size,
            prescalers=self.prescalers,
            shared_grns=nn.ModuleDict(),
        )
        self.encoder_variable_selection = VariableSelection(
            _input_sizes(spec, past), size, prescalers=self.prescalers, shared_grns=shared_grns, context_size=size
        )
        self.decoder_variable_selection = VariableSelection(
            _input_sizes(spec, future), size, prescalers=self.prescalers, shared_grns=shared_grns, context_size=size
        )

    def forward(
        self,
        encoder_cat: Tensor,
        encoder_cont: Tensor,
        encoder_lengths: Tensor,
        decoder_cat: Tensor,
        decoder_cont: Tensor,
    ) -> Tensor:
        """The scaled quantiles, (servers, targets, horizon, quantiles).

        encoder_cat (servers, encoder, len(x_categoricals)): codes. encoder_cont (servers, encoder, len(x_reals)).
        Row r of both counts up to encoder_lengths[r], at least 1; what stands behind has no effect.
        decoder_cat and decoder_cont the same for the horizon; only its known inputs are read.
        encoder_lengths (servers,): in host memory, wherever the rest is.
        """
        return self.look_inside(encoder_cat, encoder_cont, encoder_lengths, decoder_cat, decoder_cont)[0]

    def look_inside(
        self,
        encoder_cat: Tensor,
        encoder_cont: Tensor,
        encoder_lengths: Tensor,
        decoder_cat: Tensor,
        decoder_cont: Tensor,
    ) -> tuple[Tensor, Insight]:
        """What `forward` gives for these inputs, and what was weighed on the way there."""
        past = self.variables(encoder_cat, encoder_cont)
        future = self.variables(decoder_cat, decoder_cont)
        encoder, horizon = encoder_cont.shape[1], decoder_cont.shape[1]
        no_context = encoder_cont.new_zeros(len(encoder_cont), self.spec.hidden_size)
        static_inputs = {name: past[name][:, 0] for name in self.static_variable_selection.names}
        static, _ = self.static_variable_selection(static_inputs, no_context)  # (servers, hidden)
        context = self.static_context_variable_selection(static).unsqueeze(1)
        selected_past, past_weights = self.encoder_variable_selection(past, context.expand(-1, encoder, -1))
        selected_future, future_weights = self.decoder_variable_selection(future, context.expand(-1, horizon, -1))
        temporal = self._remember_from(static, selected_past, selected_future, encoder_lengths)
        attended, attention = self._attend(temporal, static, encoder_lengths, horizon=horizon)
        output = self.pre_output_gate_norm(self.pos_wise_ff(attended), temporal[:, encoder:])
        return self._quantiles(output), Insight(attention, past_weights, future_weights)

    def _remember_from(self, static: Tensor, past: Tensor, future: Tensor, encoder_lengths: Tensor) -> Tensor:
        """The LSTM over past and future, with gate and norm, (servers, encoder + horizon, hidden)."""
        hidden = self.static_context_initial_hidden_lstm(static)
        cell = self.static_context_initial_cell_lstm(static)
        remembered = self.remember(past, future, hidden, cell, encoder_lengths)
        selected = torch.cat([past, future], dim=1)
        return cast(Tensor, self.post_lstm_add_norm_encoder(self.post_lstm_gate_encoder(remembered), selected))

    def _attend(
        self, temporal: Tensor, static: Tensor, encoder_lengths: Tensor, *, horizon: int
    ) -> tuple[Tensor, Tensor]:
        """temporal (servers, encoder + horizon, hidden) → (servers, horizon, hidden), and the attention of Insight."""
        encoder = temporal.shape[1] - horizon
        enriched = self.static_enrichment(temporal, self.static_context_enrichment(static).unsqueeze(1))
        queries = enriched[:, encoder:]  # only the steps of the horizon are queries
        forbidden = self.forbidden(encoder_lengths, encoder, horizon).to(enriched.device)
        attended, attention = self.multihead_attn(queries, enriched, forbidden)
        return self.post_attn_gate_norm(attended, queries), attention

    def _quantiles(self, output: Tensor) -> Tensor:
        """output (servers, horizon, hidden) → (servers, targets, horizon, quantiles)."""
        layers: Iterable[nn.Module] = (
            self.output_layer if isinstance(self.output_layer, nn.ModuleList) else [self.output_layer]
        )
        return torch.stack([layer(output) for layer in layers], dim=1)

    def variables(self, cat: Tensor, cont: Tensor) -> dict[str, Tensor]:
        """Name → (servers, steps, embedding) for labels, (servers, steps, 1) for numbers."""
        embeddings = cast(nn.ModuleDict, self.input_embeddings["embeddings"])
        labels = {name: embeddings[name](cat[..., i]) for i, name in enumerate(self.spec.x_categoricals)}
        numbers = {name: cont[..., i].unsqueeze(-1) for i, name in enumerate(self.spec.x_reals)}
        return labels | numbers

    def remember(
        self, past: Tensor, future: Tensor, hidden: Tensor, cell: Tensor, encoder_lengths: Tensor | None
    ) -> Tensor:
        """The LSTM's outputs over past and future, (servers, encoder + horizon, hidden).

        hidden and cell (servers, hidden): what every layer begins with. encoder_lengths: None if all are whole.
        """
        begin = tuple(part.expand(self.spec.lstm_layers, -1, -1).contiguous() for part in (hidden, cell))
        if encoder_lengths is None:
            encoded, state = self.lstm_encoder(past, begin)
        else:
            packed = pack_padded_sequence(past, encoder_lengths, batch_first=True, enforce_sorted=False)
            encoded, state = self.lstm_encoder(packed, begin)
            encoded, _ = pad_packed_sequence(encoded, batch_first=True, total_length=past.shape[1])
        decoded, _ = self.lstm_decoder(future, state)
        return torch.cat([encoded, decoded], dim=1)

    def forbidden(self, encoder_lengths: Tensor, encoder: int, horizon: int) -> Tensor:
        """(servers, horizon, encoder + horizon): True for padding and, in causal attention, for itself and later."""
        padding = torch.arange(encoder) >= encoder_lengths[:, None]  # (servers, encoder)
        ahead = self.forbidden_ahead(horizon, device=encoder_lengths.device)
        rows = len(encoder_lengths)
        return torch.cat([padding[:, None].expand(-1, horizon, -1), ahead.expand(rows, -1, -1)], dim=2)

    def forbidden_ahead(self, horizon: int, *, device: torch.device) -> Tensor:
        """(horizon, horizon): True, in causal attention, for itself and later."""
        ahead = torch.ones(horizon, horizon, dtype=torch.bool, device=device)
        return ahead.triu() if self.spec.causal_attention else ahead.logical_not()


def _embeddings(spec: NetworkSpec) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Embedding(classes, size) for name, (classes, size) in spec.embedding_sizes.items()})


def _prescalers(spec: NetworkSpec) -> nn.ModuleDict:
    names = (*spec.static_reals, *spec.time_varying_reals_encoder, *spec.time_varying_reals_decoder)
    return nn.ModuleDict({name: nn.Linear(1, size) for name, size in _input_sizes(spec, names).items()})


def _input_sizes(spec: NetworkSpec, names: Iterable[str]) -> dict[str, int]:
    """Variable → size of the vector that variable selection gets of it."""
    return {name: _input_size(spec, name) for name in names}


def _input_size(spec: NetworkSpec, name: str) -> int:
    if name in spec.embedding_sizes:
        return spec.embedding_sizes[name][1]
    return spec.hidden_continuous_sizes.get(name, spec.hidden_continuous_size)
