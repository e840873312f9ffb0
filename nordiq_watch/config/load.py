"""Reads config.yaml, then the overrides NORDIQ_SECTION__KEY of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nordiq_watch.config.checks import check_consistency
from nordiq_watch.config.environment import API_KEY_VARIABLE, PREFIX, RESERVED_VARIABLES
from nordiq_watch.config.errors import to_config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.strict_yaml import load_yaml

DEFAULT_FILE = Path("config.yaml")


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `path` with the environment's overrides. ConfigError names key, value and allowed values."""
    environ = os.environ if environ is None else environ
    tree = _read_yaml(path)
    sources = _override(tree, environ)
    config = to_config(tree, path, sources)
    check_consistency(config, path)
    api_key = environ.get(API_KEY_VARIABLE) or None
    return Settings(config=config, root=path.resolve().parent, api_key=api_key, file=path)


def find_settings(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `path`, or else in ./config.yaml, or else the defaults, relative to the working directory."""
    if path is None and not os.path.lexists(DEFAULT_FILE):  # a link that leads nowhere was meant to be a config
        return msgspec.structs.replace(load_settings(Path(os.devnull), environ), root=Path.cwd(), file=None)
    return load_settings(path or DEFAULT_FILE, environ)


def change_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with other values; changes: a tree of sections and keys, as in the file. Raises ConfigError."""
    tree: dict[str, Any] = msgspec.to_builtins(settings.config)
    _merge(tree, changes)
    place = Path("settings")
    config = to_config(tree, place, {})
    check_consistency(config, place)
    return msgspec.structs.replace(settings, config=config)


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name a config file with --config.") from None
    except ValueError as error:  # bytes that are no UTF-8 too
        raise ConfigError(f"{path}: is not YAML as it is read here: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold sections such as `server:`, found {type(tree).__name__}")
    return tree


def _override(tree: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Writes NORDIQ_* values into the tree; returns key → variable, so that errors can name the variable."""
    sources: dict[str, str] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in RESERVED_VARIABLES:
            continue
        keys = variable.removeprefix(PREFIX).lower().split("__")
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
            if not isinstance(branch, dict):
                raise ConfigError(f"{variable}: {'.'.join(keys[:-1])} is not a section")
        branch[keys[-1]] = _parse_variable(variable, keys, text)
        sources[".".join(keys)] = variable
    return sources


def _parse_variable(variable: str, keys: list[str], text: str) -> Any:
    if keys in (["metrics"], ["auth", "public"]) and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return load_yaml(text)
    except ValueError:
        raise ConfigError(f"{variable}={text!r}: cannot be read as a value") from None
