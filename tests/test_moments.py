from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from nordiq_watch.moments import MissingHour, parse_moment

NEW_YEAR = datetime(2017, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2017-01-01T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2016-12-31 23:59:60",
        "20161231T235960Z",
        "2016-W52-6T23:59:60Z",
        "2016-12-31T18:59:60-05:00",
        "2017-01-01T05:29:60+0530",
        "2016-12-31T24:00:00Z",
        "2016-12-31T24:00:00.000",
        "2016-12-31 24:00",
        "20161231T240000Z",
        "2016-12-31T24",
        "2016-12-31T24:00:00+00:00",
    ],
)
def test_the_end_of_a_year_in_every_way_of_writing_it(text: str) -> None:
    assert parse_moment(text) == NEW_YEAR


def test_fractions_and_zones_count() -> None:
    assert parse_moment("2016-12-31T23:59:60.25Z") == NEW_YEAR + 0.25
    assert parse_moment("2016-12-31T24:00:00+02:00") == NEW_YEAR - 7_200
    assert parse_moment("9999-12-31T24:00:00Z") == parse_moment("9999-12-31T23:59:59Z") + 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2016-12-31T12:30:60Z",  # no leap second was ever there
        "2016-12-31T23:59:60+05:00",
        "2016-12-31T23:59:61Z",
        "2016-12-31T23:60:00Z",
        "2016-12-31T24:00:01Z",
        "2016-12-31T24:30:00Z",
        "2016-12-31T25:00:00Z",
        "2016-13-31T24:00:00Z",
        "9" * 100_000,
        "2016-12-31T24" + ":00" * 50_000,
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat|must be in|leap seconds|max_str_digits"):
        parse_moment(text)


BERLIN = ZoneInfo("Europe/Berlin")
TURN = datetime(2025, 10, 26, 1, tzinfo=UTC).timestamp()  # from here on the clocks of Berlin show two o'clock again


def test_a_time_without_a_zone_is_one_of_the_zone_given_and_others_are_their_own() -> None:
    noon = datetime(2025, 7, 1, 10, tzinfo=UTC).timestamp()
    assert parse_moment("2025-07-01T12:00:00", zone=BERLIN) == noon
    assert parse_moment("2025-07-01T10:00:00Z", zone=BERLIN) == noon
    assert parse_moment("2025-06-30T24:00", zone=BERLIN) == noon - 12 * 3600


def test_of_an_hour_that_comes_twice_the_second_is_meant_unless_it_is_yet_to_come() -> None:
    assert parse_moment("2025-10-26T02:30:00", zone=BERLIN, latest=TURN + 1800) == TURN + 1800
    assert parse_moment("2025-10-26T02:30:00", zone=BERLIN, latest=TURN + 1799) == TURN - 1800
    assert parse_moment("2025-10-26T02:30:00", zone=BERLIN) == TURN + 1800


def test_a_time_that_a_zone_leaves_out_is_no_time() -> None:
    with pytest.raises(MissingHour, match="does not exist in Europe/Berlin"):
        parse_moment("2025-03-30T02:30:00", zone=BERLIN)
    assert parse_moment("2025-03-30T02:30:00") == datetime(2025, 3, 30, 2, 30, tzinfo=UTC).timestamp()
