from __future__ import annotations

import io

import pytest
from rich.console import Console

from nordiq_watch.cli.terminal import cell, open_console, print_facts, print_table


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, markup=False)


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.000532, "0.000532"),
        (245.3, "245.3"),
        (86401.5, "86402"),
        ([], "-"),
        (("cpu", "mem"), "cpu, mem"),
        ("[red]text[/red]", "[red]text[/red]"),
    ],
)
def test_a_value_as_a_user_reads_it(value: object, text: str) -> None:
    assert cell(value).plain == text


def test_a_row_is_one_line_in_a_pipe_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "weights: " + "x" * 300
    print_table("title", ("name", "reason"), [("a", reason), ("b", "")], console=open_console())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["title"], ["name", "reason"], ["a", *reason.split()], ["b"]]
    assert all(line == line.rstrip() for line in lines)


def test_only_the_last_column_folds_on_a_narrow_terminal() -> None:
    console = terminal(40)
    print_table(
        "a title that is wider than this table", ("name", "reason"), [("tft_model_x", "z" * 60)], console=console
    )
    lines = shown(console)
    assert lines[0] == "a title that is wider than this table"
    assert sum(line.count("z") for line in lines) == 60
    assert all(len(line) <= 40 for line in lines)
    assert any("tft_model_x" in line for line in lines)


def test_facts_show_what_is_inside_sections(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"loaded": True, "config": {"length": 96, "inner": {"deep": None}}}, console=open_console())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["loaded", "yes"], ["config.length", "96"], ["config.inner.deep", "-"]]


def test_states_stand_out_and_other_columns_do_not() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system="standard", markup=False)
    print_table("", ("stage", "state"), [("live", "live")], console=console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("\x1b[1;32mlive") == 1
