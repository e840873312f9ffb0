"""Capabilities that a candidate lacks and the live model has: `reload.on_loss` decides whether that refuses it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from nordiq_watch.live.servable import Servable

_NAMED_SERVERS = 5


def find_losses(candidate: Servable, live: Servable, *, sending: Collection[str]) -> Iterator[str]:
    """One line in plain words per kind of loss. sending: the servers that send now; others are no loss."""
    ours, theirs = candidate.spec, live.spec
    targets = [target for target in theirs.targets if target not in ours.targets]
    if targets:
        yield f"it does not forecast {', '.join(targets)}, which {live.name} forecasts"
    if ours.max_prediction_length < theirs.max_prediction_length:
        steps = f"{ours.max_prediction_length} of the {theirs.max_prediction_length} steps"
        yield f"its horizon has {steps} that {live.name} forecasts"
    quantiles = [f"{quantile:g}" for quantile in theirs.quantiles if quantile not in ours.quantiles]
    if quantiles:
        yield f"it has no quantile {', '.join(quantiles)}, which {live.name} has"
    unknown = sorted((live.known_servers - candidate.known_servers).intersection(sending))
    if unknown:
        more = len(unknown) - _NAMED_SERVERS
        named = ", ".join(unknown[:_NAMED_SERVERS]) + (f" and {more} more" if more > 0 else "")
        yield f"it was not trained on {named}, which {live.name} knows"
