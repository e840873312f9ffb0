from __future__ import annotations

import csv
import io

import pytest

from nordiq_watch.web.spreadsheet import write_csv

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u207a\u208b\u2212"
LEADS = ["", " ", "\u00a0", "\ufeff", "\u200b", "\u3000", "\t", "\r", "\n", "\r\n", " \ufeff\t", "\x00", "\u202e"]


def cell_of(value: object) -> str:
    _, (cell,) = csv.reader(io.StringIO(write_csv(["name"], [{"name": value}]), newline=""))
    return cell


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("lead", LEADS)
def test_no_text_is_a_formula(lead: str, sign: str) -> None:
    assert cell_of(f"{lead}{sign}1+1") == f"'{lead}{sign}1+1"


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx"])
def test_a_text_that_begins_on_another_line_or_cell_is_marked(text: str) -> None:
    assert cell_of(text).startswith("'")


@pytest.mark.parametrize("text", ["web1", " a", "a=b", "1-2", "größe", "", "東京"])
def test_other_text_is_as_it_was(text: str) -> None:
    assert cell_of(text) == text


def test_numbers_are_numbers() -> None:
    assert write_csv(["a", "b", "c"], [{"a": -1.5, "b": None}]).splitlines()[1] == "-1.5,,"
