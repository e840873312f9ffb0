from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.names import MAX_NAME_LENGTH, find_fault, find_invisible, tidy_name

HIDDEN = "\x00\n\x7f\x85\u00ad\u200b\u200d\u200e\u202e\u2066\u2028\u2060\ufeff\ufe0f\u3164\u115f\U000e0041\ud800"


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\ufeff", "\ufeff \ufeff"])
def test_blanks_at_the_ends_are_no_part_of_a_name(blank: str) -> None:
    assert tidy_name(f"{blank}web 1{blank}") == "web 1"
    assert tidy_name(blank) == ""


def test_names_that_look_alike_are_one_name() -> None:
    composed, decomposed = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
    assert tidy_name(decomposed) == tidy_name(composed) == composed
    assert tidy_name("Web1") != tidy_name("web1")
    assert tidy_name("\uff57eb1") != "web1", "wide letters are seen to be others"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "must be a text that is not empty"),
        ("*", "stands for the whole fleet"),
        ("current", "/predictions/current"),
        ("x" * (MAX_NAME_LENGTH + 1), "has 256 characters; must have at most 255"),
        ("a/../b", "between slashes"),
        (".", "between slashes"),
        *[(name, "must have a letter or a digit") for name in (":", "/", "-", "--", "_", "**", "…", "()")],
        ("a" + "\u0301" * 31, "at most 30 marks on a letter"),
        *[(f"web{hidden}1", f"such as U+{ord(hidden):04X}") for hidden in HIDDEN],
    ],
)
def test_what_no_server_may_be_called(name: str, said: str) -> None:
    fault = find_fault(name)
    assert fault is not None
    assert said in fault
    fault.encode()  # it can be sent, whatever was in the name
    assert "\n" not in fault


@pytest.mark.parametrize("name", ["web1", "größe/東京", "a b", "Current", "*1", "a..b", "db:5432", "x" * 255, "🐳"])
def test_other_names_are_good(name: str) -> None:
    assert tidy_name(name) == name
    assert find_fault(name) is None


@given(st.text(max_size=20))
def test_a_tidy_name_stays_as_it_is(text: str) -> None:
    name = tidy_name(text)
    assert tidy_name(name) == name
    assert name == unicodedata.normalize("NFC", name)
    if find_fault(name) is None:
        assert name
        assert not name[0].isspace()
        assert not name[-1].isspace()
        assert not {unicodedata.category(character) for character in name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert find_invisible(name) is None


@pytest.mark.parametrize("text", ["a" + "\u0301\u0327" * 500_000, " \ufeff" * 500_000 + "a" + "\ufeff " * 500_000])
def test_no_text_takes_long(text: str) -> None:
    """The normal form of such a run, or blanks taken away one after the other, took minutes."""
    began = time.process_time()
    find_fault(tidy_name(text))
    for number in range(2_000):
        find_fault(tidy_name(f"{number}{text[:1_000]}"))
    assert time.process_time() - began < 2
