"""Makes sure there is memory for two models while one replaces the other, according to `reload.policy`.

load_first   loads beside the live model, whatever is free.
unload_first first frees all that answers can do without: the version kept for a rollback and, on a GPU, the live
             weights, which answer from host memory until the new version is live.
auto         is load_first as long as measured free memory holds both, else unload_first.

With auto and unload_first, a model that still does not fit is not loaded but tried again later, and the live one
continues: running into the kernel's OOM killer would end both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Literal

from nordiq_watch.api.enums import Check
from nordiq_watch.errors import TransientModelError
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.forward import FOLDED_UP_TO_BYTES
from nordiq_watch.records.models import Version

log = logging.getLogger(__name__)

Policy = Literal["auto", "load_first", "unload_first"]

_HEADROOM = 1.2
"""A model needs its file's size, and some more for the canary's forward pass."""

_FOLDING = 3
"""Fusing a small model temporarily needs this many times its size."""

_MEGABYTE = 1e6


class MemoryGuard:
    """Belongs to the reload worker. `free_host_bytes` and `free_device_bytes` measure at the time of the call."""

    def __init__(
        self,
        policy: Policy,
        live: Live,
        *,
        device: str,
        free_host_bytes: Callable[[], int],
        free_device_bytes: Callable[[], int],
    ) -> None:
        self._policy = policy
        self._live = live
        self._device = device
        self._free_host_bytes = free_host_bytes
        self._free_device_bytes = free_device_bytes

    def make_for(self, version: Version, *, facts: Mapping[str, object]) -> None:
        """Frees the necessary memory before the version is read. Raises TransientModelError if it still does not fit.

        facts: fields for the log line about this.
        """
        network = version.size_bytes - version.extras_bytes
        folded = network if network <= FOLDED_UP_TO_BYTES else 0
        needed = int(version.size_bytes * _HEADROOM + folded * _FOLDING)
        if self._live.previous() is not None and self._is_short(needed, self._free_host_bytes):
            log.info(
                "the version kept for a rollback is dropped from memory to make room for %s", version.name, extra=facts
            )
            self._live.drop_previous()
        if self._policy != "load_first" and (free := self._free_host_bytes()) < needed:
            raise TransientModelError(
                version.name,
                check=Check.MEMORY,
                found=f"it needs {needed / _MEGABYTE:,.0f} MB, {free / _MEGABYTE:,.0f} MB are free",
                remedy="Free memory; it is tried again.",
            )

    def place(self, candidate: Servable) -> Servable:
        """The candidate on the daemon's device. TransientModelError if it does not fit; the live model continues."""
        if self._device == "cpu":
            return candidate
        live = self._live.peek()
        if live is not None and self._is_short(_needed_beside(live, candidate), self._free_device_bytes):
            self._live.drop_previous()
            self._live.move(live.on("cpu"))
            del live  # the last reference to the weights on the GPU
        try:
            return candidate.on(self._device)
        except MemoryError as error:
            found = f"{self._device}: {error}"
        # Not above: an error that is being handled keeps alive whatever was moved before it.
        self.bring_back()
        raise TransientModelError(candidate.name, check=Check.MEMORY, found=found, remedy="It is tried again.")

    def bring_back(self) -> None:
        """Moves a live model that answers from host memory back to the daemon's device, if there is room."""
        live = self._live.peek()
        if live is None or self._device == "cpu" or live.predictor.device == self._device:
            return
        try:
            self._live.move(live.on(self._device))
        except MemoryError:
            log.error("%s answers from host memory: there is no room for it on %s any more", live.name, self._device)

    def _is_short(self, needed: int, free_bytes: Callable[[], int]) -> bool:
        if self._policy == "auto":
            return free_bytes() < needed
        return self._policy == "unload_first"


def _needed_beside(live: Servable, candidate: Servable) -> int:
    """Device memory: the candidate's weights, and the live model's working memory, as the fleet is the same."""
    return candidate.predictor.weight_bytes + live.predictor.working_bytes
