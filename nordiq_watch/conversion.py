"""Checked conversion of parsed JSON and YAML into typed values, safe from any thread.

msgspec (0.22) publishes the description of a type before it has filled it in, and fills it in when a value of the type
is first decoded or converted. A second thread that needs the type in the meantime follows a null pointer, and the
process ends with SIGSEGV. Every description is therefore built at import, by one thread: by a `msgspec.json.Decoder` at
module level, or by `converter`. `tests/test_architecture.py` forbids `msgspec.json.decode` with a type and
`msgspec.convert` everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def converter(kind: type[T]) -> Callable[[Any], T]:
    """A function that converts builtin values to `kind`; the type's description is already built.

    Call it at module level. The returned function raises msgspec.ValidationError.
    """
    msgspec.json.Decoder(kind)

    def convert(value: Any) -> T:
        return msgspec.convert(value, kind)

    return convert
