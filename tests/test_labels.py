from __future__ import annotations

import pytest

from nordiq_watch.labels import LONGEST_NAME, LONGEST_VALUE, find_fault, match, split, split_list


@pytest.mark.parametrize(
    ("name", "value"),
    [("team", "web"), ("_x", ""), ("topology.kubernetes.io-zone", "eu-1, a: b"), ("t" * LONGEST_NAME, "größe 日本")],
)
def test_good_labels(name: str, value: str) -> None:
    assert find_fault(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("", "x", "has a name other than"),
        ("1st", "x", "has a name other than"),
        ("a b", "x", "has a name other than"),
        ("a:b", "x", "has a name other than"),
        ("größe", "x", "has a name other than"),
        ("team\n", "x", "has a name other than"),
        ("t" * (LONGEST_NAME + 1), "x", "has a name other than"),
        ("team", 3, "is not a text"),
        ("team", None, "is not a text"),
        ("team", {"a": "b"}, "is not a text"),
        ("team", "x" * (LONGEST_VALUE + 1), "has 129 characters; must have at most 128"),
        ("team", "a\x00b", "control characters"),
        ("team", "a\nb", "control characters"),
    ],
)
def test_bad_ones_say_why(name: object, value: object, words: str) -> None:
    assert words in str(find_fault(name, value))


def test_a_list_wants_one_value_of_each_name() -> None:
    wanted = split_list("team:web, team:db,env:a:b,c")
    assert wanted == {"team": {"web", "db"}, "env": {"a:b,c"}}
    items = wanted.items()
    assert match({"team": "db", "env": "a:b,c", "other": "x"}, items)
    assert not match({"team": "db"}, items)
    assert not match({"team": "ops", "env": "a:b,c"}, items)
    assert match({}, [])


@pytest.mark.parametrize("text", ["team", "team:", ":web", "", "1a:b", "team:web,"])
def test_what_is_no_pair_is_named(text: str) -> None:
    if text == "team:web,":
        assert split_list(text) == {"team": {"web,"}}
        return
    with pytest.raises(ValueError, match="which is not NAME:VALUE"):
        split(text)
