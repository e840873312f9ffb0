"""Safe YAML for settings, without constructs that are never meant."""

from __future__ import annotations

import math
from typing import Any

import yaml


def load_yaml(text: str) -> Any:
    """The parsed text. Raises ValueError, in one line, if it cannot be parsed or `_Loader` refuses it."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # dates that no calendar has; thousands of brackets
        raise ValueError(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    """Refuses what YAML allows but no setting means: a duplicate key, whose first value would be lost silently; an
    infinite number; a character that no path and no name can hold.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refuse(f"{key.value!r} stands there twice", key)
                seen.add(key.value)
        return dict(super().construct_mapping(node, deep))

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text = str(super().construct_scalar(node))
        if "\0" in text:
            raise _refuse("found the character NUL", node)
        return text

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        number = float(super().construct_yaml_float(node))
        if not math.isfinite(number):
            raise _refuse(f"{node.value} is not a finite number", node)
        return number


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def _refuse(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
