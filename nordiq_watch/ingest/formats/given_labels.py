"""Labels of servers that their series carry, such as a rack or a team: `feeders.labels` names which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nordiq_watch.records.servers import GivenLabels


def note_given(
    given: dict[str, GivenLabels], server: str, labels: Mapping[str, str], names: Sequence[str], *, at: float
) -> None:
    """Adds those of a series' labels that its server is to have; of series at several moments, the newest's count.

    given: by server. at: Unix time of the series' newest sample.
    """
    found = {name: labels[name] for name in names if name in labels}
    if not found:
        return
    known = given.get(server)
    if known is not None:
        found = {**known.labels, **found} if at >= known.at else {**found, **known.labels}
        at = max(at, known.at)
    given[server] = GivenLabels(server, at, found)
