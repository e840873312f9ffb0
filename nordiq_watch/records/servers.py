"""What people say of servers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Until when no alert of a server is raised, why, and since when. Unix seconds of this machine's clock."""

    until: float
    reason: str
    since: float
