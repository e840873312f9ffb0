"""Files shipped with the program for its users: the default config and systemd's units.

They are read as resources, from a checkout and from an installed wheel alike. In a checkout, `nordiq_watch/data` links
to the repository's root; a wheel contains copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable


def read_default_config() -> str:
    """The commented config.yaml; its values are the defaults."""
    return _data().joinpath("config.yaml").read_text(encoding="utf-8")


def read_unit_files() -> dict[str, str]:
    """All files below `systemd/`: relative path, with slashes → text."""
    return dict(_read_tree(_data().joinpath("systemd"), prefix=""))


def _data() -> Traversable:
    return resources.files("nordiq_watch").joinpath("data")


def _read_tree(directory: Traversable, *, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _read_tree(entry, prefix=f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_text(encoding="utf-8")
