"""What people say of servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Until when no alert of a server is raised, why, and since when. Unix seconds of this machine's clock."""

    until: float
    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """Labels that a server was given at a moment, in Unix seconds. An empty value takes a label away."""

    server: str
    at: float
    labels: Mapping[str, str]
