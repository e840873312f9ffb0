from __future__ import annotations

import zoneinfo
from datetime import UTC

import pytest

from nordiq_watch.zones import UnknownZone, find_zone


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"])
def test_a_zone_is_found_by_its_name(name: str) -> None:
    assert str(find_zone(name)) == name


@pytest.mark.parametrize("name", ["UTC", "utc", "Utc"])
def test_utc_is_one_zone_in_any_letters(name: str) -> None:
    assert find_zone(name) is UTC


@pytest.mark.parametrize(
    "name",
    [
        *("Europe/Berln", "europe/berlin", "Berlin", "Europe", "", "europe berlin", "zone.tab", "posixrules\0"),
        *("../../etc/passwd", "/etc/localtime", "Europe/../Europe/Berlin", "Europe//Berlin", "a/b/c/d", "x" * 10_000),
    ],
)
def test_any_other_name_is_refused_by_name_in_one_line(name: str) -> None:
    with pytest.raises(UnknownZone) as caught:
        find_zone(name)
    assert str(caught.value).startswith(repr(name))
    assert "\n" not in str(caught.value)


def test_without_a_tz_database_of_the_system_there_is_that_of_the_package() -> None:
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert str(find_zone("Europe/Berlin")) == "Europe/Berlin"
        with pytest.raises(UnknownZone):
            find_zone("Europe")
    finally:
        zoneinfo.reset_tzpath(before)
        zoneinfo.ZoneInfo.clear_cache()
