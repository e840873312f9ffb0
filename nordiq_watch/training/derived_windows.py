"""Derived inputs of training windows, by the code that computes them when serving; and which of them a model gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.derived_inputs import LAGS, lag_slots, relate, summarise
from nordiq_watch.network.lagged import read_lagged
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.training.windows import Places, SeriesWindows


@dataclass(frozen=True, slots=True)
class LagChoice:
    """Kinds of `derived_inputs.LAGS` that a network reads in its decoder, and which of them in its encoder too."""

    decoder: tuple[str, ...] = ()
    encoder: tuple[str, ...] = ()


def choose_lags(*, window_length: int, encoder: int, interval_seconds: int) -> LagChoice:
    """All that a daemon's window of that many slots holds: a model that reads farther back could not be loaded."""
    slots = {kind: lag_slots(kind, interval_seconds) for kind in LAGS}
    return LagChoice(
        decoder=tuple(kind for kind in LAGS if slots[kind] <= window_length),
        encoder=tuple(kind for kind in LAGS if slots[kind] + encoder <= window_length),
    )


class DerivedInputs:
    """Computes the derived inputs of windows of `source`, for targets whose transformation changes nothing."""

    def __init__(
        self, source: SeriesWindows, targets: Sequence[str], lags: LagChoice, *, longest: int, interval_seconds: int
    ) -> None:
        """longest: slots of a whole encoder."""
        self._source = source
        self._targets = targets
        self._lags = lags
        self._longest = longest
        self._interval_seconds = interval_seconds

    def compute(
        self, places: Places, lengths: IntArray, history: Tensor, *, scales: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Name → values, (n, width) or (n, 1) each, for the encoder and for the decoder.

        lengths (n,): slots of each encoder. history (targets, n, width): row r counts up to lengths[r]. scales
        (targets, n, 1): what each target's normalizer divides by.
        """
        counts = torch.from_numpy(lengths)
        past = self._summaries(history, counts, scales)
        future = dict(past)
        for kind in self._lags.decoder:
            before, ahead = self._lagged(kind, places, lengths, width=history.shape[2])
            for column, target in enumerate(self._targets):
                last, scale = history[column].gather(1, counts[:, None] - 1), scales[column]
                future[f"{target}_{kind}"] = relate(ahead[..., column], last=last, scale=scale)
                if before is not None:
                    past[f"{target}_{kind}"] = relate(before[..., column], last=last, scale=scale)
        return past, future

    def _summaries(self, history: Tensor, counts: Tensor, scales: Tensor) -> dict[str, Tensor]:
        return {
            f"{target}_{kind}": summary
            for target, values, scale in zip(self._targets, history, scales, strict=True)
            for kind, summary in summarise(
                values, lengths=counts, scale=scale, interval_seconds=self._interval_seconds
            ).items()
        }

    def _lagged(self, kind: str, places: Places, lengths: IntArray, *, width: int) -> tuple[Tensor | None, Tensor]:
        """Measurements of encoder (n, width, targets), None if it does not read the kind, and of decoder."""
        lag, encoder = lag_slots(kind, self._interval_seconds), width if kind in self._lags.encoder else 0
        back = lag + encoder
        window, _, _ = self._source.cut(*places, past=back, future=1)
        young = lengths < np.minimum(places.origins, self._longest)  # cut short, to be as a new server's
        window[young[:, None] & (np.arange(back) < back - lengths[:, None])] = np.nan
        lagged = read_lagged(
            lambda begin, end: torch.from_numpy(window[:, begin:end]),
            width=back,
            lag=lag,
            encoder=encoder,
            horizon=self._source.horizon,
        ).align(np.minimum(width - lengths[:, None] + np.arange(width), width - 1))
        return lagged.past, lagged.future
