"""Checked conversion of parsed JSON and YAML into typed values, safe from any thread.

msgspec (0.22) publishes the description of a type before it has filled it in, and fills it in when a value of the type
is decoded or converted for the first time. A second thread that needs the type in the meantime follows a null pointer,
and the process ends with SIGSEGV. Every description is therefore built at import, by one thread: a
`msgspec.json.Decoder` at module level builds it, and so does `converter`. `tests/test_architecture.py` forbids
`msgspec.json.decode` with a type and `msgspec.convert` everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def converter(kind: type[T]) -> Callable[[Any], T]:
    """A function that turns builtin values into `kind`, with the type's description built already.

    Call it at module level. The function that it returns raises msgspec.ValidationError.
    """
    msgspec.json.Decoder(kind)

    def convert(value: Any) -> T:
        return msgspec.convert(value, kind)

    return convert
