"""Forward pass of the Temporal Fusion Transformer on fused weights: the outputs of `tft`, several times faster.

`fused_weights` documents what is fused. The rest is written here in torch, for any device; `native` does the same for
the CPU in C++. Server labels and target scales go through the original, unfused static part, which runs once per
server.

Sizes in comments: servers, steps (encoder, horizon or both), hidden, head = hidden // heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.fused_layers import Dense, Gate, Norm, Residual
from nordiq_watch.network.fused_selection import RealInputs, Selection
from nordiq_watch.network.fused_weights import FusedWeights, fuse
from nordiq_watch.network.tft import TemporalFusionTransformer


@dataclass(frozen=True, slots=True)
class Contexts:
    """Output of the static part per server: (servers, flat) for the two selections, else (servers, hidden)."""

    encoder: Tensor
    decoder: Tensor
    hidden: Tensor
    cell: Tensor
    enrichment: Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Padding layout and attention mask of a batch of encoders.

    longest: a row with the longest encoder. forbidden (servers or 1, horizon, steps): True where a query must not
    attend. lengths (servers,), in host memory, and places (servers, encoder), see `_places`; None if all encoders are
    whole.
    """

    longest: int
    forbidden: Tensor
    lengths: Tensor | None = None
    places: Tensor | None = None


@torch.inference_mode()
def read_static(network: TemporalFusionTransformer, fused: FusedWeights, cat: Tensor, cont: Tensor) -> Contexts:
    """Static contexts. cat (servers, labels) and cont (servers, numbers) may be any encoder step: static inputs are
    constant.
    """
    inputs = network.variables(cat, cont)
    nothing = cont.new_zeros(len(cont), network.spec.hidden_size)
    static, _ = network.static_variable_selection(inputs, nothing)  # (servers, hidden)
    selecting = network.static_context_variable_selection(static)
    return Contexts(
        encoder=_add_context(fused.encoder, selecting),
        decoder=_add_context(fused.decoder, selecting),
        hidden=network.static_context_initial_hidden_lstm(static),
        cell=network.static_context_initial_cell_lstm(static),
        enrichment=F.linear(network.static_context_enrichment(static), fused.enrichment_context),
    )


def _add_context(selection: Selection, context: Tensor) -> Tensor:
    return context[:, :0] if selection.scores is None else F.linear(context, selection.scores.context)


class FoldedForward:
    """Immutable and thread-safe. Implements `forward.Forward`."""

    name = "folded"

    def __init__(self, network: TemporalFusionTransformer, fused: FusedWeights | None = None) -> None:
        """The forward pass runs on the device of `network`."""
        self._network = network
        self._fused = fused or fuse(network)
        self._device = next(network.parameters()).device

    @property
    def servers_at_once(self) -> int:
        """Batch size whose activations fit one core's cache."""
        return max(4, min(16, 1024 // self._network.spec.hidden_size))

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Tensor:
        """Scaled quantiles (servers, targets, horizon, quantiles), in host memory."""
        lengths = inputs.encoder_lengths
        encoder, horizon = inputs.encoder_cont.shape[1], inputs.decoder_cont.shape[1]
        layout = Layout(
            longest=int(lengths.argmax()),
            forbidden=self._network.forbidden(lengths, encoder, horizon).to(self._device),
            lengths=lengths,
            places=_places(lengths, encoder).to(self._device),
        )
        parts = (inputs.encoder_cat, inputs.encoder_cont, inputs.decoder_cat, inputs.decoder_cont)
        return self._compute(layout, *(part.to(self._device) for part in parts)).cpu()

    @torch.inference_mode()
    def run_whole(self, encoder_cat: Tensor, encoder_cont: Tensor, decoder_cat: Tensor, decoder_cont: Tensor) -> Tensor:
        """As `run` for encoders of equal length, from and to the network's own device.

        Can be captured as a CUDA graph: no step depends on the data, reads host memory or waits for the device, hence
        no list indexing, no tensors made from Python numbers and no packed sequences.
        """
        encoder, horizon = encoder_cont.shape[1], decoder_cont.shape[1]
        ahead = self._network.forbidden_ahead(horizon, device=encoder_cont.device)
        layout = Layout(longest=0, forbidden=F.pad(ahead, (encoder, 0))[None])
        return self._compute(layout, encoder_cat, encoder_cont, decoder_cat, decoder_cont)

    def _compute(
        self, layout: Layout, encoder_cat: Tensor, encoder_cont: Tensor, decoder_cat: Tensor, decoder_cont: Tensor
    ) -> Tensor:
        fused, network = self._fused, self._network
        encoder = encoder_cont.shape[1]
        contexts = read_static(network, fused, encoder_cat[:, 0], encoder_cont[:, 0])
        shared_past = vectors_of_shared(fused.encoder, encoder_cont[layout.longest])
        shared_future = vectors_of_shared(fused.decoder, decoder_cont[layout.longest])
        shared_past = shared_past[None] if layout.places is None else shared_past[layout.places]
        past = _select(fused.encoder, encoder_cat, encoder_cont, contexts.encoder, shared_past)
        future = _select(fused.decoder, decoder_cat, decoder_cont, contexts.decoder, shared_future[None])
        remembered = network.remember(past, future, contexts.hidden, contexts.cell, layout.lengths)
        temporal = _pass_gate(fused.post_lstm, remembered, torch.cat([past, future], dim=1))  # (servers, steps, hidden)
        enriched = _pass_residual(fused.enrichment, temporal, contexts.enrichment[:, None])
        queries = enriched[:, encoder:]  # only the horizon asks
        attended = self._attend(queries, enriched, layout.forbidden)
        attended = _pass_gate(fused.post_attention, attended, queries)
        fed = _pass_residual(fused.feed_forward, attended)
        output = _dense(fused.output, _pass_gate(fused.pre_output, fed, temporal[:, encoder:]))
        return by_target(output, len(network.spec.output_size))

    def _attend(self, queries: Tensor, enriched: Tensor, forbidden: Tensor) -> Tensor:
        """(servers, horizon, head): the values weighted by attention, summed over the heads, which share values."""
        fused, heads = self._fused, self._network.spec.attention_head_size
        asked = _dense(fused.queries, queries).reshape(*queries.shape[:2], heads, -1)
        keys = _dense(fused.keys, enriched).reshape(*enriched.shape[:2], heads, -1)
        scores = asked.transpose(1, 2) @ keys.permute(0, 2, 3, 1)  # (servers, heads, horizon, steps)
        scores = scores.masked_fill_(forbidden[:, None], -torch.inf)
        attention = F.softmax(scores, dim=-1).sum(dim=1)  # (servers, horizon, steps)
        return attention @ _dense(fused.values, enriched)


def by_target(output: Tensor, targets: int) -> Tensor:
    """(servers, horizon, targets * quantiles) → (servers, targets, horizon, quantiles)."""
    return output.reshape(*output.shape[:2], targets, -1).transpose(1, 2)


def _places(lengths: Tensor, encoder: int) -> Tensor:
    """(servers, encoder): position of each server's steps in the longest encoder, all ending at the same slot; (1,
    encoder) if all have the same length. Positions beyond a server's length are arbitrary.
    """
    steps = torch.arange(encoder)[None]
    if bool((lengths == encoder).all()):
        return steps
    return (steps + (encoder - lengths)[:, None]).clamp(max=encoder - 1)


def _dense(dense: Dense, x: Tensor) -> Tensor:
    return F.linear(x, dense.weight, dense.bias)


def _normalise(norm: Norm, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], norm.gain, norm.offset)


def _pass_gate(gate: Gate, x: Tensor, skip: Tensor) -> Tensor:
    return _normalise(gate.norm, F.glu(_dense(gate.dense, x), dim=-1).add_(skip))


def _pass_residual(residual: Residual, x: Tensor, context: Tensor | None = None) -> Tensor:
    inside = _dense(residual.first, x)
    return _pass_gate(residual.gate, F.elu_(inside if context is None else inside.add_(context)), x)


# --- variable selection -------------------------------------------------------------------------------------------


def _select(selection: Selection, cat: Tensor, cont: Tensor, context: Tensor, shared: Tensor) -> Tensor:
    """(servers, steps, hidden): the variables' vectors, summed with their joint selection weights.

    shared (servers or 1, steps, shared numbers, hidden): vectors of the variables all servers share.
    """
    own, hidden = len(selection.own), selection.own.u.shape[1]
    numbers = _columns(cont, selection.columns)  # (servers, steps, numbers)
    rows = [
        F.embedding(cat[..., column], table)
        for column, table in zip(selection.label_columns, selection.tables, strict=True)
    ]
    weights = _weigh(selection, numbers, rows, context)  # (servers, steps, variables)
    selected = cont.new_zeros(*cont.shape[:2], hidden)
    for index in range(own):
        vector = _number(selection.own, index, numbers[..., index, None])
        selected.addcmul_(weights[..., index, None], vector)
    for index, vector in enumerate(shared.unbind(dim=2), start=own):
        selected.addcmul_(weights[..., index, None], vector)
    for index, row in enumerate(rows, start=len(selection.columns)):
        selected.addcmul_(weights[..., index, None], row[..., :hidden])
    return selected


def _columns(cont: Tensor, columns: tuple[int, ...]) -> Tensor:
    """(…, len(columns)). Indexing with a list would copy the indices to the GPU, which no graph can capture."""
    return torch.stack([cont[..., column] for column in columns], dim=-1) if columns else cont[..., :0]


def vectors_of_shared(selection: Selection, cont: Tensor) -> Tensor:
    """(steps, shared numbers, hidden). cont (steps, numbers): of a server with the longest encoder."""
    own, shared = len(selection.own), selection.shared
    vectors = [_number(shared, index, cont[:, column, None]) for index, column in enumerate(selection.columns[own:])]
    return torch.stack(vectors, dim=1) if vectors else cont.new_zeros(len(cont), 0, shared.u.shape[1])


def _weigh(selection: Selection, numbers: Tensor, rows: list[Tensor], context: Tensor) -> Tensor:
    """Selection weights (servers, steps, variables): positive, with a sum of 1."""
    scores = selection.scores
    if scores is None:
        return numbers.new_ones(*numbers.shape[:2], selection.variables)
    hidden, flat = selection.own.u.shape[1], len(scores.first.bias)
    inside = _dense(scores.first, numbers).add_(context[:, None])
    skip = _dense(scores.skip, numbers)
    for row in rows:
        inside += row[..., hidden : hidden + flat]
        skip += row[..., hidden + flat :]
    if scores.resampled:
        skip = _normalise(scores.residual_norm, skip)
    return F.softmax(_pass_gate(scores.gate, F.elu_(inside), skip), dim=-1)


def _number(numbers: RealInputs, index: int, x: Tensor) -> Tensor:
    """Vector of one real variable: x (…, 1) → (…, hidden)."""
    inside = F.elu_(torch.addcmul(numbers.c[index], x, numbers.a[index]))
    scale = (x - numbers.middle[index]).square_().mul_(numbers.bend[index]).add_(numbers.least[index]).rsqrt_()
    skip = torch.addcmul(numbers.offset[index], x * scale, numbers.u[index]).addcmul_(scale, numbers.d[index])
    gate = Gate(
        Dense(numbers.matrix[index], numbers.bias[index]), Norm(numbers.norm.gain[index], numbers.norm.offset[index])
    )
    return _pass_gate(gate, inside, skip)
