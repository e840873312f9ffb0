"""The settings of training."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from nordiq_watch.config.section import Count, Seconds, Section


class CalendarSettings(Section, frozen=True):
    zone: Annotated[str, Meta(description="IANA name of a time zone")] = "UTC"
    holidays: tuple[Annotated[date, Meta(description="dates, such as `2026-12-25`")], ...] = ()


class TrainingSettings(Section, frozen=True):
    hidden_size: Annotated[int, Meta(ge=4, le=1024)] = 32
    attention_heads: Annotated[int, Meta(ge=1, le=64)] = 4
    max_encoder_length: Annotated[int, Meta(ge=2)] = 288
    max_prediction_length: Count = 96
    batch_size: Count = 64
    learning_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.005
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    members: tuple[Literal["linear", "rows"], ...] = ("linear", "rows")
    max_batches_per_epoch: Count | None = None
    max_seconds: Seconds | None = None
    calendar: CalendarSettings = CalendarSettings()
    seed: Annotated[int, Meta(ge=0)] = 42
