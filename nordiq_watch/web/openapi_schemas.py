"""JSON schemas of the API's Structs, as the daemon writes them.

msgspec's own schemas say what may be read: there, a field with a default may be absent. What the daemon writes is
narrower. A Struct is written whole, except for fields that are UNSET and, in a Struct with `omit_defaults`, fields
that have their default; such a field is left out rather than null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import msgspec
from msgspec import NODEFAULT, Struct, UnsetType

from nordiq_watch.api.endpoint import Endpoint

Schema = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"

_NULL = {"type": "null"}


def describe_structs(endpoints: Sequence[Endpoint]) -> tuple[Mapping[Any, Schema], dict[str, Schema]]:
    """Struct → a reference to its schema, for every body and answer; and the schemas by name."""
    bodies = [found.body.kind for found in endpoints if found.body is not None and found.body.kind is not None]
    answers = [kind for found in endpoints for kind in _answers_of(found)]
    written = dict.fromkeys(_structs_in(msgspec.inspect.multi_type_info(answers)))
    kinds = list(dict.fromkeys((*bodies, *written)))
    references, schemas = msgspec.json.schema_components(kinds, ref_template=TEMPLATE)
    named = dict(zip(kinds, references, strict=True))
    for kind in written:
        _narrow(schemas[named[kind]["$ref"].rpartition("/")[2]], kind)
    return named, schemas


def alternatives(answer: Any) -> tuple[type[Struct], ...]:
    """An endpoint's answer, which may be no Struct, one or several, as a tuple."""
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _answers_of(endpoint: Endpoint) -> Iterator[type[Struct]]:
    for answer in (endpoint.answer, *endpoint.others.values(), endpoint.failure):
        yield from alternatives(answer)


def _structs_in(types: Iterable[Any]) -> Iterator[type[Struct]]:
    """Every Struct in these descriptions of msgspec, however deep."""
    for kind in types:
        match kind:
            case msgspec.inspect.StructType(cls=found, fields=fields):
                yield found
                yield from _structs_in(field.type for field in fields)
            case msgspec.inspect.UnionType(types=parts) | msgspec.inspect.TupleType(item_types=parts):
                yield from _structs_in(parts)
            case msgspec.inspect.DictType(key_type=key, value_type=value):
                yield from _structs_in((key, value))
            case msgspec.inspect.CollectionType(item_type=item):
                yield from _structs_in((item,))


def _narrow(schema: Schema, kind: type[Struct]) -> None:
    """Makes the schema of what may be read that of what is written."""
    optional = set()
    for field in msgspec.structs.fields(kind):
        described = schema["properties"][field.encode_name]
        described.pop("default", None)
        has_default = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
        if kind.__struct_config__.omit_defaults and has_default:
            optional.add(field.encode_name)
            if field.default is None:
                _forbid_null(described)
        elif UnsetType in get_args(field.type):
            optional.add(field.encode_name)
    schema["required"] = [name for name in schema["properties"] if name not in optional]


def _forbid_null(described: Schema) -> None:
    kinds = [kind for kind in described.pop("anyOf", ()) if kind != _NULL]
    if len(kinds) == 1:
        described.update(kinds[0])
    elif kinds:
        described["anyOf"] = kinds
