"""docs/configuration.md says of every setting what config.py says: its default and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import pytest
import yaml

from nordiq_watch.config.schema import Config

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<key>[a-z_.]+)` \| (?P<default>[^|]*) \| (?P<allowed>[^|]*) \| (?P<meaning>[^|]*) \|$", re.M)
ROWS = {match["key"]: match for match in ROW.finditer(PAGE)}


def settings(section: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any, msgspec.inspect.Type]]:
    """Dotted key, default and type of every setting."""
    description = msgspec.inspect.type_info(section)
    assert isinstance(description, msgspec.inspect.StructType)
    for field in description.fields:
        if isinstance(field.type, msgspec.inspect.StructType):
            yield from settings(field.type.cls, f"{prefix}{field.name}.")
        else:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            yield prefix + field.name, default, field.type


SETTINGS = {key: (default, kind) for key, default, kind in settings(Config)}


def allowed(kind: msgspec.inspect.Type) -> str:
    """The words that the page uses for a type."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return str((kind.extra_json_schema or {})["description"])
    if isinstance(kind, msgspec.inspect.UnionType):
        return " or ".join(allowed(part) for part in kind.types)
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return f"list of {allowed(kind.item_type)}"
    if isinstance(kind, msgspec.inspect.DictType):
        if isinstance(kind.value_type, msgspec.inspect.StrType):
            return "mapping of header to text"
        deep = isinstance(kind.value_type, msgspec.inspect.DictType)
        return "table of tables by metric" if deep else "table by metric"
    if isinstance(kind, msgspec.inspect.StructType):
        return "rule"
    if isinstance(kind, msgspec.inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, msgspec.inspect.StrType):
        assert kind.pattern is None, "say in its description what it may be"
        return "text"
    words = {
        msgspec.inspect.BoolType: "`true`, `false`",
        msgspec.inspect.NoneType: "`null`",
        msgspec.inspect.IntType: "whole number",
        msgspec.inspect.FloatType: "number",
    }[type(kind)]
    return words + bounds(kind)


def as_yaml(default: Any) -> Any:
    """The default with the types that a YAML file has."""
    return msgspec.json.decode(msgspec.json.encode(default))


def bounds(kind: msgspec.inspect.Type) -> str:
    names = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    given = [(name, getattr(kind, key, None)) for key, name in names.items()]
    return "".join(f" {name} {value:g}" for name, value in given if value is not None)


def test_the_page_has_every_setting_and_no_other() -> None:
    assert list(ROWS) == list(SETTINGS)


@pytest.mark.parametrize("key", SETTINGS)
def test_a_row_is_true(key: str) -> None:
    default, kind = SETTINGS[key]
    row = ROWS[key]
    assert row["default"] == "see below" or yaml.safe_load(row["default"].strip("`")) == as_yaml(default)
    assert row["allowed"] == allowed(kind)
    assert row["meaning"].strip()


def test_the_default_metrics_are_listed() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \| [^|]* \|$", PAGE, re.M)
    assert listed == list(Config().metrics)


def test_config_yaml_holds_the_defaults() -> None:
    tree = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    assert msgspec.convert(tree, Config) == Config()
