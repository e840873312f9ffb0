from __future__ import annotations

from nordiq_watch.web.sparing import LINES_A_MINUTE, Sparing


def test_a_flood_leaves_room_in_the_log_and_is_counted() -> None:
    now = 0.0
    sparing = Sparing(clock=lambda: now)
    assert [sparing.count() for _ in range(1000)] == [""] * LINES_A_MINUTE + [None] * (1000 - LINES_A_MINUTE)
    now = 61.0
    assert sparing.count() == f" (and {1000 - LINES_A_MINUTE} more before)"
    assert sparing.count() == ""
    now = 125.0
    assert sparing.count() == ""


def test_wrong_keys_do_not_fill_the_log(world, caplog) -> None:
    for _ in range(LINES_A_MINUTE + 20):
        assert world.stranger.get("/admin/models", headers={"X-API-Key": "a-wrong-secret"}).status_code == 401
    assert 0 < len([line for line in caplog.messages if "wrong API key" in line]) < LINES_A_MINUTE + 20
