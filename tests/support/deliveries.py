"""How samples reach the daemon from a network that reorders, repeats and fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

T_ = TypeVar("T_")


def deliveries(
    dice: Random, series: Mapping[str, Sequence[T_]], *, at: Callable[[T_], float], orders: Sequence[str]
) -> list[tuple[list[tuple[str, T_]], bool]]:
    """Requests, and whether each is taken: all samples in one of the `orders` (time, series, backwards, any) and in any
    portions; some twice; some answered with 503, which come again. at: the time of a sample.
    """
    samples = [(name, sample) for name, of in series.items() for sample in of]
    order = dice.choice(orders)
    if order in ("time", "backwards"):
        samples.sort(key=lambda one: at(one[1]), reverse=order == "backwards")
    elif order == "any":
        dice.shuffle(samples)
    size = dice.choice([1, 7, 40, 1000])
    requests: list[tuple[list[tuple[str, T_]], bool]] = []
    for start in range(0, len(samples), size):
        request, fate = samples[start : start + size], dice.randrange(6)
        if fate == 0:
            requests.append((request, False))
        requests.append((request, True))
        if fate == 1:
            requests.insert(dice.randrange(len(requests)), (request, True))
    return requests
