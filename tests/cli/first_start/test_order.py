from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from nordiq_watch.cli.first_start.order import Order, Source, order_of
from nordiq_watch.cli.main import build_parser
from nordiq_watch.errors import ConfigError


def parse(*options: str) -> argparse.Namespace:
    return build_parser()[0].parse_args(["init", *options])


def answering(*answers: str) -> Callable[[str], str]:
    waiting = list(answers)
    return lambda question: waiting.pop(0)


def order(*options: str, ask: Callable[[str], str] | None = None) -> Order:
    return order_of(parse(*options), ask=ask)


def test_options_say_all() -> None:
    options = ("--dataset", "export", "--interval", "60", "--timezone", "Europe/Berlin", "--port", "9000", "--yes")
    made = order(*options, "--max-minutes", "3", "--force")
    assert (made.source, made.place, made.interval_seconds, made.zone) == (
        Source.DATASET, "export", 60, "Europe/Berlin",
    )  # fmt: skip
    assert (made.port, made.max_minutes, made.force) == (9000, 3.0, True)


def test_defaults() -> None:
    made = order("--agent", "--yes")
    assert (made.source, made.interval_seconds, made.zone, made.port) == (Source.AGENT, None, None, None)
    assert (made.max_minutes, made.force) == (5.0, False)


def test_utc_is_a_zone_that_was_named() -> None:
    assert order("--agent", "--timezone", "utc", "--yes").zone == "UTC"


def test_a_person_is_asked_for_what_is_not_said() -> None:
    made = order(ask=answering("2", "export", "Europe/Paris"))
    assert (made.source, made.place, made.zone) == (Source.DATASET, "export", "Europe/Paris")
    made = order("--timezone", "UTC", ask=answering("3"))
    assert (made.source, made.zone) == (Source.AGENT, "UTC")


def test_a_config_that_stays_says_the_zone() -> None:
    assert order_of(parse("--agent"), ask=answering(), configured=True).zone is None


@pytest.mark.parametrize("answers", [("4",), ("prometheus",)])
def test_an_answer_that_is_none_of_them(answers: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="is not 1, 2 or 3"):
        order(ask=answering(*answers))


def test_a_zone_that_is_none() -> None:
    with pytest.raises(ConfigError, match="the time zone is 'Mars/Base'"):
        order("--agent", ask=answering("Mars/Base"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "there is no terminal to ask at"),
        (("--yes",), "give --prometheus URL, --dataset DIR or --agent"),
        (("--agent",), "give --yes"),
    ],
)
def test_without_a_terminal_nothing_is_guessed(options: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        order(*options)
