from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from support.fake_model import fake_servable

from nordiq_watch.errors import TransientModelError
from nordiq_watch.live.published import Live
from nordiq_watch.reload.room import Room

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
MB = 1_000_000


class TestHostMemory:
    """On real, tiny models; only the measurement of free memory is made up."""

    def test_as_long_as_both_fit_nothing_is_given_back(self, yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B)
        yard.look()
        assert yard.live.previous().name == A

    def test_auto_gives_back_the_version_kept_for_a_rollback(self, yard) -> None:
        for name in (A, B):
            yard.drop(name)
            yard.look()
        measured = iter([0])  # too little, until the previous version is dropped
        yard.measure_free = lambda: next(measured, 2**40)
        yard.drop(C)
        yard.look()
        assert yard.live_name == C
        assert yard.live.previous().name == B

    def test_what_does_not_fit_is_not_loaded_and_tried_again(self, yard) -> None:
        yard.drop(A)
        yard.look()
        yard.free_bytes = 100
        yard.drop(B)
        yard.look()
        assert yard.live_name == A
        assert "0 MB are free" in yard.reason(B)
        assert yard.states()[B] == "available"
        yard.free_bytes = 2**40
        yard.pass_time(1.1)
        assert yard.live_name == B

    def test_load_first_does_not_ask(self, yard) -> None:
        yard.policy = "load_first"
        yard.start()
        yard.free_bytes = 100
        yard.drop(A)
        yard.look()
        assert yard.live_name == A


@dataclass
class Device:
    """A GPU with room for so many models; a predictor on it takes one place until it is dropped."""

    places: int
    taken: list[str] = field(default_factory=list)


class Placeable:
    weight_bytes = 10 * MB

    def __init__(self, name: str, device: Device, where: str = "cpu") -> None:
        self.name, self.device, self.where = name, device, where
        if where != "cpu":
            if len(device.taken) >= device.places:
                raise MemoryError("out of memory")
            device.taken.append(name)

    def on(self, where: str) -> Placeable:
        if self.where != "cpu" and where == "cpu":
            self.device.taken.remove(self.name)  # as the last reference to it goes
        return Placeable(self.name, self.device, where)


def servable_on(device: Device, name: str, where: str = "cpu"):
    servable, _ = fake_servable(name=name)
    return replace(servable, predictor=Placeable(name, device, where))


def room_on(device: Device, live: Live, policy: str = "auto") -> Room:
    return Room(
        policy,
        live,
        device="cuda",
        free_host_bytes=lambda: 2**40,
        free_device_bytes=lambda: (device.places - len(device.taken)) * 10 * MB,
    )


class TestGpu:
    def test_with_room_for_both_the_live_model_stays_where_it_is(self) -> None:
        device, live = Device(places=2), Live()
        live.swap(servable_on(device, A, "cuda"), keep_previous=False)
        placed = room_on(device, live).place(servable_on(device, B))
        assert placed.predictor.where == "cuda"
        assert live.peek().predictor.where == "cuda"

    def test_without_it_the_live_model_answers_from_the_host(self) -> None:
        device, live = Device(places=1), Live()
        live.swap(servable_on(device, A, "cuda"), keep_previous=False)
        placed = room_on(device, live).place(servable_on(device, B))
        assert placed.predictor.where == "cuda"
        assert (live.peek().name, live.peek().predictor.where) == (A, "cpu")

    def test_if_the_new_one_does_not_fit_even_then_the_old_one_comes_back(self) -> None:
        device, live = Device(places=1), Live()
        live.swap(servable_on(device, A, "cuda"), keep_previous=False)
        huge = servable_on(device, B)
        huge.predictor.on = lambda where: (_ for _ in ()).throw(MemoryError("out of memory"))
        with pytest.raises(TransientModelError, match="out of memory"):
            room_on(device, live).place(huge)
        assert (live.peek().name, live.peek().predictor.where) == (A, "cuda")
