"""What all sections of the settings have in common."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1)]

Seconds = Annotated[float, Meta(gt=0)]

MetricName = Annotated[str, Meta(pattern="^[a-zA-Z][a-zA-Z0-9_]*$", description="metric name")]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass
