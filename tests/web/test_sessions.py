"""Sessions: what a token is worth, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.web.sessions import IDLE_SECONDS, MOST_SESSIONS, Sessions, name_cookie


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock=clock)


def test_a_token_stands_for_its_key(sessions: Sessions) -> None:
    first, second = sessions.open("one"), sessions.open("two")
    assert (sessions.key_of(first), sessions.key_of(second)) == ("one", "two")


@pytest.mark.parametrize("token", [None, "", "made up"])
def test_what_was_never_given_out_is_worth_nothing(sessions: Sessions, token: str | None) -> None:
    sessions.open("key")
    assert sessions.key_of(token) is None


def test_a_closed_session_is_over(sessions: Sessions) -> None:
    token = sessions.open("key")
    sessions.close(token)
    sessions.close(token)
    sessions.close(None)
    assert sessions.key_of(token) is None


def test_use_keeps_a_session_and_rest_ends_it(sessions: Sessions, clock: Clock) -> None:
    token = sessions.open("key")
    for _ in range(3):
        clock.now += IDLE_SECONDS
        assert sessions.key_of(token) == "key"
    clock.now += IDLE_SECONDS + 1
    assert sessions.key_of(token) is None


def test_the_one_used_longest_ago_makes_room(sessions: Sessions) -> None:
    oldest, older = sessions.open("key"), sessions.open("key")
    sessions.key_of(oldest)
    for _ in range(MOST_SESSIONS - 1):
        sessions.open("key")
    assert sessions.key_of(oldest) == "key"
    assert sessions.key_of(older) is None


def test_daemons_of_two_state_directories_have_cookies_of_their_own() -> None:
    first, second = name_cookie(Path("/srv/one/state")), name_cookie(Path("/srv/two/state"))
    assert first != second
    assert name_cookie(Path("/srv/one/state")) == first
    assert first.isascii()
    assert first.replace("_", "").isalnum()
