"""Student's t distribution with whole degrees of freedom.

`scipy.stats.t` has it, too, but scipy comes only with the extra `train`; `compare` works without it. The tests compare
the two.
"""

from __future__ import annotations

from math import atan, cos, inf, pi, sin, sqrt

_HALVINGS = 200


def two_sided_p(t: float, *, degrees: int) -> float:
    """The probability of a value at least as far from zero as `t`.

    The finite series of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    if abs(t) == inf:
        return 0.0
    angle = atan(abs(t) / sqrt(degrees))
    odd = degrees % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 if odd else 1, degrees, 2):
        total += term
        term *= cos(angle) ** 2 * k / (k + 1)
    inside = 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
    return max(0.0, 1.0 - inside)


def critical_value(level: float, *, degrees: int) -> float:
    """The t whose two-sided p-value is `level`, by bisection."""
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees=degrees) > level:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, degrees=degrees) > level else (low, middle)
    return (low + high) / 2
