"""What is decided about a request by its head, before its body is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BodyLeftOut = Literal["not_allowed", "too_large", "no_room"]
"""Why a request reached the app without its body: its key may not send one there, it is too long, or there was no
memory for it."""

BODY_LEFT_OUT = "nordiq_watch.body_left_out"
"""The WSGI environment has the BodyLeftOut of a request under this name."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request's head admits: bytes of body, 0 for none; and whether its key is valid."""

    max_body_bytes: int
    is_known: bool
