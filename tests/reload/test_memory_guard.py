from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest
from support.fake_model import fake_servable
from support.log_records import facts_of
from support.optional import not_none
from support.serving import serving_of
from support.yard import Answered, Yard

from nordiq_watch.api.enums import Check
from nordiq_watch.errors import ModelRejected, TransientModelError
from nordiq_watch.events import ModelWentLive
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.models import Version
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.reload.loader import Loader
from nordiq_watch.reload.memory_guard import MemoryGuard, Policy
from nordiq_watch.reload.promoter import Promoter
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.reload.run import ReloadRun

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
MB = 1_000_000
NOT_FINITE = ModelRejected(B, check=Check.CANARY, found="p50 is NaN", remedy="")


class TestHostMemory:
    """On real, tiny models; only the measurement of free memory is made up."""

    def test_as_long_as_both_fit_nothing_is_given_back(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B)
        yard.look()
        assert not_none(yard.live.previous()).name == A

    def test_auto_gives_back_the_version_kept_for_a_rollback(
        self, yard: Yard, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "nordiq_watch.reload.memory_guard")
        for name in (A, B):
            yard.drop(name)
            yard.look()
        measured = iter([0])  # too little, until the previous version is dropped
        yard.measure_free = lambda: next(measured, 2**40)
        yard.drop(C)
        yard.look()
        assert yard.live_name == C
        assert not_none(yard.live.previous()).name == B
        (told,) = caplog.records
        live = yard.events[-1]
        assert isinstance(live, ModelWentLive)
        assert facts_of(told) == {"version": C, "reload": live.reload_id, "drop": live.drop}

    def test_what_does_not_fit_is_not_loaded_and_tried_again(self, yard: Yard) -> None:
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

    def test_a_small_model_needs_room_for_its_folds(self, yard: Yard) -> None:
        size = sum(file.stat().st_size for file in yard.drop(A).iterdir())
        yard.free_bytes = 2 * size
        yard.look()
        assert yard.live_name is None
        assert "are free" in yard.reason(A)
        yard.free_bytes = 5 * size
        yard.pass_time(1.1)
        assert yard.live_name == A

    def test_load_first_does_not_ask(self, yard: Yard) -> None:
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
    """Weights that take a place on a GPU for as long as anything refers to them there."""

    weight_bytes = 10 * MB
    working_bytes = 0

    def __init__(self, name: str, gpu: Device, device: str = "cpu") -> None:
        self.name, self.gpu, self.device = name, gpu, device
        if device != "cpu":
            if len(gpu.taken) >= gpu.places:
                raise MemoryError("out of memory")
            gpu.taken.append(name)
            weakref.finalize(self, gpu.taken.remove, name)

    def on(self, device: str) -> Placeable:
        return self if device == self.device else Placeable(self.name, self.gpu, device)


def servable_on(gpu: Device, name: str, device: str = "cpu") -> Servable:
    servable, _ = fake_servable(name=name)
    return replace(servable, predictor=cast(Predictor, Placeable(name, gpu, device)))


def room_on(device: Device, live: Live, policy: Policy = "auto") -> MemoryGuard:
    return MemoryGuard(
        policy,
        live,
        device="cuda",
        free_host_bytes=lambda: 2**40,
        free_device_bytes=lambda: (device.places - len(device.taken)) * 10 * MB,
    )


class TestGpu:
    def test_with_room_for_both_the_live_model_stays_where_it_is(self) -> None:
        device, live = Device(places=2), Live()
        live.swap(serving_of(servable_on(device, A, "cuda")), keep_previous=False)
        placed = room_on(device, live).place(servable_on(device, B))
        assert placed.predictor.device == "cuda"
        assert not_none(live.peek()).predictor.device == "cuda"

    def test_the_candidate_also_needs_the_room_that_the_live_model_works_in(self) -> None:
        device, live = Device(places=2), Live()
        live.swap(serving_of(servable_on(device, A, "cuda")), keep_previous=False)
        cast(Placeable, not_none(live.peek()).predictor).working_bytes = 1
        room_on(device, live).place(servable_on(device, B))
        assert not_none(live.peek()).predictor.device == "cpu"

    def test_without_it_the_live_model_answers_from_the_host(self) -> None:
        device, live = Device(places=1), Live()
        live.swap(serving_of(servable_on(device, A, "cuda")), keep_previous=False)
        placed = room_on(device, live).place(servable_on(device, B))
        assert placed.predictor.device == "cuda"
        assert (not_none(live.peek()).name, not_none(live.peek()).predictor.device) == (A, "cpu")

    def test_if_the_new_one_does_not_fit_even_then_the_old_one_comes_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device, live = Device(places=1), Live()
        live.swap(serving_of(servable_on(device, A, "cuda")), keep_previous=False)
        huge = servable_on(device, B)

        def has_no_room(device: str) -> Predictor:
            raise MemoryError("out of memory")

        monkeypatch.setattr(huge.predictor, "on", has_no_room)
        with pytest.raises(TransientModelError, match="out of memory"):
            room_on(device, live).place(huge)
        assert (not_none(live.peek()).name, not_none(live.peek()).predictor.device) == (A, "cuda")

    @pytest.mark.parametrize("what", [NOT_FINITE, MemoryError("out of memory")], ids=["canary", "memory"])
    def test_a_version_that_fails_only_there_gives_the_live_one_its_place_back(self, what: Exception) -> None:
        gpu, live = Device(places=1), Live()
        live.swap(serving_of(servable_on(gpu, A, "cuda")), keep_previous=False)
        promoter = Promoter(
            cast(Loader, ReadyLoader(gpu)),
            cast(Canary, FailingThere(what)),
            live,
            memory_guard=room_on(gpu, live),
            answers=Answered(),
            keep_previous=True,
        )
        with pytest.raises(ModelRejected) as raised:
            promoter.prove(not_none(live.peek()).version, begin_run(), generation=2, known_bad=None)
        assert isinstance(raised.value, TransientModelError) is isinstance(what, MemoryError)
        assert (not_none(live.peek()).name, not_none(live.peek()).predictor.device, gpu.taken) == (A, "cuda", [A])

    def test_a_version_that_waited_in_host_memory_comes_back_as_soon_as_there_is_room(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        gpu, live = Device(places=1), Live()
        live.swap(serving_of(servable_on(gpu, A)), keep_previous=False)
        in_the_way = Placeable(B, gpu, "cuda")
        room_on(gpu, live).bring_back()
        assert not_none(live.peek()).predictor.device == "cpu"
        assert f"{A} answers from host memory" in caplog.text
        del in_the_way
        room_on(gpu, live).bring_back()
        assert not_none(live.peek()).predictor.device == "cuda"


class ReadyLoader:
    """Has B in host memory at once."""

    def __init__(self, gpu: Device) -> None:
        self.gpu = gpu

    def read(self, version: Version) -> SimpleNamespace:
        return SimpleNamespace(content_sha256="ef" * 32, info=None)

    def build(self, version: Version, files: SimpleNamespace, *, generation: int) -> Servable:
        return servable_on(self.gpu, B)


class FailingThere:
    """A canary that dies on the GPU."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def check(self, candidate: Servable, **_: object) -> None:
        if candidate.predictor.device == "cuda":
            raise self.error


def begin_run() -> ReloadRun:
    clock = lambda: 0.0  # noqa: E731
    ticket = ReloadQueue(wall_clock=clock).new_ticket(LookAgain())
    return ReloadRun(ticket, live=A, clock=clock, wall_clock=clock)
