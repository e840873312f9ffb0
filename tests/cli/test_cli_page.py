"""docs/cli.md names every command, and each of its lines can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nordiq_watch.cli.main import build_parser

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
LINES = re.findall(r"^nordiq-watch (.*)$", PAGE, re.MULTILINE)


def test_every_command_is_in_the_table_and_shown() -> None:
    _, owners = build_parser()
    table = re.findall(r"^\| \[`([a-z-]+)`\]", PAGE, re.MULTILINE)
    assert sorted(table) == sorted(owners)
    assert {line.split()[0] for line in LINES} == set(owners)


@pytest.mark.parametrize("line", LINES)
def test_a_line_can_be_typed(line: str) -> None:
    parser, _ = build_parser()
    command = line.partition(" | ")[0].partition(" > ")[0]
    parser.parse_args(shlex.split(command))


def test_every_option_is_shown_or_explained() -> None:
    parser, _ = build_parser()
    (commands,) = (action.choices for action in parser._actions if action.dest == "command")
    assert commands is not None
    options = {option for sub in commands.values() for option in sub._option_string_actions}  # type: ignore[attr-defined]
    assert [option for option in sorted(options) if option.startswith("--") and option not in PAGE] == []
