"""Batches of windows: random ones to train on, the same ones in every epoch to validate on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nordiq_watch.records.arrays import IntArray
from nordiq_watch.training.library_inputs import Batch, Windows
from nordiq_watch.training.windows import Places

UNKNOWN_SHARE = 0.1
"""Probability that a label is hidden in training, so that the network learns unknown servers, profiles and statuses."""

SHORTENED_SHARE = 0.1
"""Probability that a training window's encoder is cut to a random length, so that the network learns young servers."""

FORECASTS_PER_SLOT = 16
"""How often a slot is forecast per epoch, on average."""

MOST_BATCHES = 2000
"""Of an epoch without training.max_batches_per_epoch: on a large fleet, too, validation is minutes apart, not hours."""


class TrainingBatches:
    """Random windows, with labels hidden and encoders shortened at random.

    A batch is determined by `seed` and its number alone, so that an interrupted training goes on with the batches that
    it would have had. An epoch is a number of batches, not a pass over all windows: these overlap, and neighbours say
    nearly the same.
    """

    def __init__(self, windows: Windows, *, batch_size: int, max_batches: int | None, seed: int) -> None:
        self._windows = windows
        self._batch_size = batch_size
        wanted = len(windows) * FORECASTS_PER_SLOT / windows.source.horizon / batch_size
        self._batches = min(max(1, round(wanted)), MOST_BATCHES if max_batches is None else max_batches)
        self._seed = seed

    @property
    def per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self._batches

    def batch(self, number: int) -> Batch:
        """Batch `number` of the whole training, from 0."""
        random = np.random.default_rng((self._seed, number))
        places = self._windows.source.sample(random, self._batch_size)
        x, y = self._windows.batch(places, self._draw_lengths(random, places))
        _hide_labels(random, x)
        return x, y

    def _draw_lengths(self, random: np.random.Generator, places: Places) -> IntArray:
        """(n,): encoder lengths, as long as possible but for a share of windows that have one shorter length.

        One per batch: windows of equal length are scaled together.
        """
        longest = np.minimum(places.origins, self._windows.longest)
        shorter = random.integers(self._windows.shortest, self._windows.longest, endpoint=True)
        shortened = random.random(len(longest)) < SHORTENED_SHARE
        return np.where(shortened, np.minimum(shorter, longest), longest)


def _hide_labels(random: np.random.Generator, x: dict[str, Any]) -> None:
    """Class 0 is the unknown one. A label is hidden over a window's whole length."""
    windows, _, labels = x["encoder_cat"].shape
    hidden = torch.from_numpy(random.random((windows, 1, labels)) < UNKNOWN_SHARE)
    for part in ("encoder_cat", "decoder_cat"):
        x[part] = x[part].masked_fill(hidden, 0)


class ValidationBatches:
    """The same windows, with the longest possible encoders, in the same order in every epoch."""

    def __init__(self, windows: Windows, places: Places, *, batch_size: int) -> None:
        self._windows = windows
        count = len(places.origins)
        self._parts = [places.part(begin, begin + batch_size) for begin in range(0, count, batch_size)]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        return (self._windows.batch(part) for part in self._parts)
