"""Output on a terminal whose encoding lacks characters: words with replaced ones, JSON with escapes, no traceback."""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper


def replace_unknown_characters() -> None:
    """From now on stdout shows `?` for what its encoding does not have; Python does so for stderr by itself."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_json(text: str) -> None:
    """Prints JSON so that every reader gets the same content: characters that stdout lacks are escaped."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = "".join(character if character.isascii() else json.dumps(character)[1:-1] for character in text)
    print(text, flush=True)
