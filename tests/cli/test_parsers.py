from __future__ import annotations

import argparse

import pytest

from nordiq_watch.cli.parsers import Parser, add_command, add_connection, positive_seconds, tcp_port


@pytest.mark.parametrize(("text", "seconds"), [("1", 1.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_seconds(text: str, seconds: float) -> None:
    assert positive_seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_what_no_seconds_are(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a number of seconds above 0"):
        positive_seconds(text)


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("65535", 65535)])
def test_ports(text: str, port: int) -> None:
    assert tcp_port(text) == port


@pytest.mark.parametrize("text", ["0", "65536", "-1", "80.0", "http", "", "9" * 5000, "٨٠"])
def test_what_no_port_is(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a port from 1 to 65535"):
        tcp_port(text)


def test_a_commands_help_keeps_the_layout_of_its_examples() -> None:
    parser = Parser(prog="program")
    command = add_command(
        argparse.ArgumentParser.add_subparsers(parser), "go", "take a step", "examples:\n  program go\n    far"
    )
    help_text = command.format_help()
    assert "\nTake a step.\n" in help_text
    assert help_text.endswith("examples:\n  program go\n    far\n")


def test_connection_options_are_all_optional() -> None:
    parser = Parser()
    add_connection(parser)
    assert vars(parser.parse_args([])) == {"url": None, "key_file": None, "config": None}
