"""Reasons why a version on disk cannot be loaded now."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.artifact.completeness import Completeness


@dataclass(frozen=True, slots=True)
class Waiting:
    """It has to settle, or to wait for its next attempt: another look in `seconds` may give another answer."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Files are missing, or could not be read."""

    verdict: Completeness


@dataclass(frozen=True, slots=True)
class Refused:
    """It was rejected or rolled back, and its content has not changed."""


Obstacle = Waiting | Incomplete | Refused
