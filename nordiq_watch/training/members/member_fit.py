"""What the fits of all members have in common: where their windows come from, and in which units they are fitted."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nordiq_watch.network.terms.scaled_past import ScaledPast, scale_past
from nordiq_watch.training.members.descent import Descent, Parameters
from nordiq_watch.training.members.draws import Drawn, Draws

_FARTHEST = 20.0
"""Scales; an error beyond counts as this much, so that one broken sensor does not decide."""
_OUTLIER = 6.0
"""Scales; squares of larger changes would decide a least-squares fit alone."""


@dataclass(frozen=True, slots=True)
class MemberFit:
    """Fits one member. quantiles: the levels. floor (targets,): see ScaledPast."""

    draws: Draws
    quantiles: tuple[float, ...]
    interval_seconds: int
    floor: Tensor

    def run(self, descent: Descent) -> Parameters:
        """The member's tensors by name."""
        raise NotImplementedError

    def scale(self, drawn: Drawn) -> tuple[ScaledPast, Tensor]:
        """The past of these windows, and their truth (targets, windows, horizon) in scales, counted from the last
        value.
        """
        past = scale_past(drawn.history, slots=self.draws.slots, floor=self.floor)
        scaled = (drawn.truth - past.last[..., None]) / past.scale[..., None]
        return past, scaled.clamp(-_FARTHEST, _FARTHEST).transpose(0, 1)


def for_squares(truth: Tensor) -> Tensor:
    """The truth in scales as a least-squares fit takes it: no change where it is not known, outliers cut off."""
    return truth.nan_to_num().clamp(-_OUTLIER, _OUTLIER)
