"""The Temporal Fusion Transformer, for inference: https://arxiv.org/abs/1912.09363 as pytorch-forecasting builds it.

Every parameter has pytorch-forecasting's name and shape, so loading its `state_dict` strictly proves that this is the
same network; the tests compare the outputs. Some modules stand under several names (prescalers, the gate and the norm
after the LSTM) because they do so there. There is no dropout: nothing is trained here.

Sizes in comments: servers, steps (encoder, horizon or both), hidden = hidden_size, inputs = variables selected from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


class GatedLinearUnit(nn.Module):
    """Half of the outputs, each let through as far as a sigmoid of its other half opens."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(input_size, 2 * output_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.fc(x), dim=-1)


class AddNorm(nn.Module):
    """Residual connection, then layer normalisation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.norm(x + skip))


class GateAddNorm(nn.Module):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.glu = GatedLinearUnit(input_size, output_size)
        self.add_norm = AddNorm(output_size)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.add_norm(self.glu(x), skip))


class ResampleNorm(nn.Module):
    """Stretches vectors to another size by linear interpolation, weights and normalises them."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, output_size
        self.mask = nn.Parameter(torch.zeros(output_size))
        self.norm = nn.LayerNorm(output_size)

    def forward(self, x: Tensor) -> Tensor:
        if self.input_size != self.output_size:
            x = self.interpolate(x)
        return cast(Tensor, self.norm(x * torch.sigmoid(self.mask) * 2))

    def interpolate(self, x: Tensor) -> Tensor:
        signals = x.reshape(-1, 1, self.input_size)
        stretched = F.interpolate(signals, self.output_size, mode="linear", align_corners=True)
        return stretched.reshape(*x.shape[:-1], self.output_size)


class GatedResidualNetwork(nn.Module):
    """Two dense layers behind a gate, so that the network can also pass its input on as it is."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int, *, context_size: int | None = None) -> None:
        super().__init__()
        self.resample_norm = ResampleNorm(input_size, output_size) if input_size != output_size else None
        self.fc1 = nn.Linear(input_size, hidden_size)
        self.context = nn.Linear(context_size, hidden_size, bias=False) if context_size is not None else None
        self.fc2 = nn.Linear(hidden_size, hidden_size)
        self.gate_norm = GateAddNorm(hidden_size, output_size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        skip = x if self.resample_norm is None else self.resample_norm(x)
        hidden = self.fc1(x)
        if self.context is not None:
            hidden = hidden + self.context(context)
        return cast(Tensor, self.gate_norm(self.fc2(F.elu(hidden)), skip))


class VariableSelection(nn.Module):
    """Turns each variable into a vector of the hidden size and adds them up with weights that depend on all of them.

    sizes: variable → size of its embedding (a label) or of its prescaler's output (a real number).
    prescalers: of the real ones. shared_grns: networks that encoder and decoder have in common; empty = own ones.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        hidden_size: int,
        *,
        prescalers: nn.ModuleDict,
        shared_grns: nn.ModuleDict,
        context_size: int | None = None,
    ) -> None:
        super().__init__()
        self.names = tuple(sizes)
        if len(sizes) > 1:
            self.flattened_grn = GatedResidualNetwork(
                sum(sizes.values()), min(hidden_size, len(sizes)), len(sizes), context_size=context_size
            )
        self.prescalers = nn.ModuleDict({name: prescalers[name] for name in sizes if name in prescalers})
        self.single_variable_grns = nn.ModuleDict()
        for name, size in sizes.items():
            if name in shared_grns:
                network = shared_grns[name]
            elif name in prescalers:
                network = single_variable_grn(size, hidden_size)
            else:
                network = ResampleNorm(size, hidden_size)
            self.single_variable_grns[name] = network

    def forward(self, variables: Mapping[str, Tensor], context: Tensor) -> tuple[Tensor, Tensor]:
        """variables: name → (…, 1) or (…, embedding). context (…, hidden); the static ones take only its shape.

        Returns what was selected, (…, hidden), and the weights of the variables, (…, inputs).
        """
        if not self.names:
            return torch.zeros_like(context), context.new_zeros(*context.shape[:-1], 0)
        embedded = {name: self._embed(name, variables[name]) for name in self.names}
        if len(embedded) == 1:
            return self._vector(embedded, self.names[0]), context.new_ones(*context.shape[:-1], 1)
        scores = self.flattened_grn(torch.cat(list(embedded.values()), dim=-1), context)
        weights = F.softmax(scores, dim=-1)
        selected = torch.zeros_like(context)
        for name, weight in zip(self.names, weights.unsqueeze(-1).unbind(dim=-2), strict=True):
            selected = torch.addcmul(selected, weight, self._vector(embedded, name))
        return selected, weights

    def _embed(self, name: str, variable: Tensor) -> Tensor:
        return cast(Tensor, self.prescalers[name](variable)) if name in self.prescalers else variable

    def _vector(self, embedded: Mapping[str, Tensor], name: str) -> Tensor:
        return cast(Tensor, self.single_variable_grns[name](embedded[name]))


def single_variable_grn(size: int, hidden_size: int) -> GatedResidualNetwork:
    return GatedResidualNetwork(size, min(size, hidden_size), hidden_size)


class InterpretableAttention(nn.Module):
    """Multi-head attention whose heads share the values, so that the mean of their attention can be looked at."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        head_size = hidden_size // heads
        self.scale = head_size**-0.5
        self.v_layer = nn.Linear(hidden_size, head_size)
        self.q_layers = nn.ModuleList(nn.Linear(hidden_size, head_size) for _ in range(heads))
        self.k_layers = nn.ModuleList(nn.Linear(hidden_size, head_size) for _ in range(heads))
        self.w_h = nn.Linear(head_size, hidden_size, bias=False)

    def forward(self, queries: Tensor, keys: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor]:
        """queries (servers, horizon, hidden), keys (servers, steps, hidden) → (servers, horizon, hidden).

        forbidden (servers, horizon, steps): True where a query must not look. Returns the heads' mean attention too,
        of the same shape.
        """
        attention = torch.zeros(forbidden.shape, dtype=queries.dtype, device=queries.device)
        for q_layer, k_layer in zip(self.q_layers, self.k_layers, strict=True):
            scores = q_layer(queries) @ k_layer(keys).mT * self.scale  # (servers, horizon, steps)
            attention += F.softmax(scores.masked_fill(forbidden, -torch.inf), dim=-1)
        attention = attention / len(self.q_layers)
        return self.w_h(attention @ self.v_layer(keys)), attention


class TemporalFusionTransformer(nn.Module):
    """Labels and scaled numbers of past and future in, scaled quantiles out."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        size = spec.hidden_size
        self.input_embeddings = nn.ModuleDict({"embeddings": _embeddings(spec)})
        self.prescalers = _prescalers(spec)

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

        static_inputs = {name: past[name][:, 0] for name in self.static_variable_selection.names}
        no_context = encoder_cont.new_zeros(len(encoder_cont), self.spec.hidden_size)
        static, _ = self.static_variable_selection(static_inputs, no_context)  # (servers, hidden)
        context = self.static_context_variable_selection(static).unsqueeze(1)
        selected_past, past_weights = self.encoder_variable_selection(past, context.expand(-1, encoder, -1))
        selected_future, future_weights = self.decoder_variable_selection(future, context.expand(-1, horizon, -1))
        selected = torch.cat([selected_past, selected_future], dim=1)  # (servers, encoder + horizon, hidden)

        hidden = self.static_context_initial_hidden_lstm(static)
        cell = self.static_context_initial_cell_lstm(static)
        remembered = self.remember(selected_past, selected_future, hidden, cell, encoder_lengths)
        temporal = self.post_lstm_add_norm_encoder(self.post_lstm_gate_encoder(remembered), selected)

        enrichment = self.static_context_enrichment(static).unsqueeze(1)
        enriched = self.static_enrichment(temporal, enrichment)
        queries = enriched[:, encoder:]  # only the horizon asks
        forbidden = self.forbidden(encoder_lengths, encoder, horizon).to(enriched.device)
        attended, attention = self.multihead_attn(queries, enriched, forbidden)
        attended = self.post_attn_gate_norm(attended, queries)

        output = self.pre_output_gate_norm(self.pos_wise_ff(attended), temporal[:, encoder:])
        layers: Iterable[nn.Module] = (
            self.output_layer if isinstance(self.output_layer, nn.ModuleList) else [self.output_layer]
        )
        quantiles = torch.stack([layer(output) for layer in layers], dim=1)
        return quantiles, Insight(attention, past_weights, future_weights)

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
