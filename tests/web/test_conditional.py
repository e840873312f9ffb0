"""An answer that has not changed is an empty 304."""

from __future__ import annotations

from support.web_world import World


def test_what_has_not_changed_is_not_sent_again(world: World) -> None:
    first = world.client.get("/admin/models")
    again = world.client.get("/admin/models", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")


def test_what_has_changed_is(world: World) -> None:
    first = world.client.get("/admin/model-info")
    world.put_live()
    again = world.client.get("/admin/model-info", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200
    assert again.json["loaded"]


def test_errors_and_orders_carry_no_tag(world: World) -> None:
    assert "ETag" not in world.client.get("/admin/reloads/7").headers
    world.reloads.outcome = {"outcome": "unchanged"}
    assert "ETag" not in world.client.post("/admin/reload-model").headers
