from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from support.log_records import facts_of
from support.models import tiny_spec, tiny_weights
from support.optional import not_none
from support.yard import Yard

import nordiq_watch.reload.catalogue as catalogue_module
from nordiq_watch.artifact.layout import CONFIG_FILE, INFO_FILE, MAPPING_FILE, WEIGHTS_FILE
from nordiq_watch.artifact.manifest import encode, read_info
from nordiq_watch.artifact.reader import ModelFiles, read_model
from nordiq_watch.events import ModelRejectedEvent, ModelWentLive
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.derived_inputs import lag_inputs
from nordiq_watch.records.models import Version
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.build import requirements_of
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import LoadLatest, LoadVersion, RollBack, Unpin
from nordiq_watch.reload.loader import Loader
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.spec import Comparison, NetworkSpec
from nordiq_watch.storage.decisions import DecisionStore

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
BEST = "tft_model_best"


def test_a_dropped_model_goes_live(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    assert (yard.live_name, yard.generation) == (A, 1)
    record = yard.service.recent(1)[0]
    assert (record.trigger, record.outcome, record.version, record.previous) == ("watcher", "loaded", A, None)
    assert [stage.name for stage in record.stages] == [
        "seen",
        "complete",
        "queued",
        "verified",
        "loaded",
        "canary",
        "live",
    ]
    assert yard.answers.generations == [1]
    assert not_none(yard.answers.tried[0]).forecast.model.name == A
    assert [event.version for event in yard.events if isinstance(event, ModelWentLive)] == [A]


def test_its_errors_in_validation_are_in_its_record_and_beside_the_live_model(yard: Yard) -> None:
    directory = yard.drop(A)
    comparison = Comparison(windows=5, beside_last_value=0.86, passed=True)
    info = msgspec.structs.replace(not_none(read_info(directory)), comparison=comparison)
    (directory / INFO_FILE).write_bytes(encode(info))
    yard.look()
    assert "its error in validation was 0.860 times last value's" in yard.service.recent(1)[0].remarks
    assert not_none(not_none(yard.live.peek()).training).comparison == comparison


def test_what_a_reload_decided_is_on_the_disk_before_it_is_answered(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: list[tuple[bool, str | None]] = []
    tell = Ticket.update

    def update(ticket: Ticket, record: ReloadRecord) -> None:
        if record.state == "finished":
            ids = {known.id for known in ReloadHistory(yard.state_dir / "reloads.jsonl").recent()}
            on_disk.append((record.id in ids, DecisionStore(yard.state_dir / "decisions.json").current.pinned))
        tell(ticket, record)

    monkeypatch.setattr(Ticket, "update", update)
    yard.drop(A)
    yard.drop(B)
    for job in (LoadLatest(), LoadVersion(A), RollBack(), Unpin()):
        yard.ask(job)
    assert on_disk == [(True, None), (True, A), (True, None), (True, None)]


def test_a_newer_drop_replaces_it_and_the_old_one_is_kept_ready(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    yard.drop(B, shift=0.5)
    yard.look()
    assert (yard.live_name, yard.generation) == (B, 2)
    assert not_none(yard.live.previous()).name == A
    assert yard.states() == {B: "live", A: "previous"}


def test_an_older_drop_changes_nothing(yard: Yard) -> None:
    yard.drop(B)
    yard.look()
    yard.drop(A)
    yard.look()
    assert (yard.live_name, yard.generation) == (B, 1)
    assert yard.states() == {B: "live", A: "available"}


def test_of_many_only_the_newest_is_loaded(yard: Yard) -> None:
    for name in (BEST, A, C, B):
        yard.drop(name)
    yard.look()
    assert (yard.live_name, yard.generation) == (C, 1)


def test_looking_twice_loads_once(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    yard.look()
    assert yard.generation == 1


def test_without_hashes_it_has_to_stand_still_first(yard: Yard) -> None:
    yard.drop(A, hashes=False)
    yard.look()
    assert yard.live_name is None
    yard.pass_time(0.9)
    assert yard.live_name is None
    yard.pass_time(0.2)  # nobody asks for a look: the worker knows when it is worth one
    assert yard.live_name == A


def test_every_change_starts_the_wait_anew(yard: Yard) -> None:
    directory = yard.drop(A, hashes=False)
    yard.look()
    yard.now += 0.9
    os.utime(directory / MAPPING_FILE)
    yard.look()
    yard.pass_time(0.9)
    assert yard.live_name is None
    yard.pass_time(0.2)
    assert yard.live_name == A


def damage(directory: Path, how: str) -> None:
    weights, config = directory / WEIGHTS_FILE, directory / CONFIG_FILE
    (directory / "training_info.json").unlink()
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "missing":
        (directory / MAPPING_FILE).unlink()
    elif how == "zeros":
        content = weights.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        weights.write_bytes(content[:header] + bytes(len(content) - header))
    elif how == "infinite":
        content = weights.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        numbers = np.full((len(content) - header) // 4, np.inf, np.float32)
        weights.write_bytes(content[:header] + numbers.tobytes())
    elif how == "format":
        config.write_text(json.dumps(json.loads(config.read_bytes()) | {"format_version": 7}))
    elif how == "shapes":
        tree = json.loads(config.read_bytes())
        tree["network"]["hidden_size"] = 16
        config.write_text(json.dumps(tree))
    elif how == "json":
        config.write_text(config.read_text()[:-20])


@pytest.mark.parametrize(
    ("how", "state", "says"),
    [
        ("truncated", "incomplete", "its header says"),
        ("missing", "incomplete", "server_mapping.json missing"),
        ("json", "incomplete", "config.json is not whole JSON"),
        ("format", "rejected", "format_version 7, this version reads 1"),
        ("shapes", "rejected", "of another shape"),
        ("infinite", "rejected", "not finite for 3 of 3 servers"),
        ("zeros", "rejected", "has no width from p10 to p90"),
    ],
)
def test_a_broken_drop_is_refused_with_its_reason_and_the_live_model_stays(
    yard: Yard, how: str, state: str, says: str
) -> None:
    yard.drop(A)
    yard.look()
    damage(yard.drop(B), how)
    yard.look()
    yard.pass_time(2.0)
    assert (yard.live_name, yard.generation) == (A, 1)
    assert yard.states()[B] == state
    assert says in yard.reason(B)


def write_otherwise(directory: Path, how: str) -> None:
    """What other programs make of a file, and no further byte mends."""
    weights, config, mapping = directory / WEIGHTS_FILE, directory / CONFIG_FILE, directory / MAPPING_FILE
    if how == "NaN":
        config.write_text(json.dumps(json.loads(config.read_bytes()) | {"training_config": {"clip": float("inf")}}))
    elif how == "NaN in the info":
        (directory / INFO_FILE).write_text(json.dumps({"validation": {"cpu_user_pct": {"mape": float("nan")}}}))
    elif how == "mark":
        config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    elif how == "UTF-16":
        mapping.write_text(mapping.read_text(), encoding="utf-16")
    elif how == "pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 245000000\n")
    elif how == "pickle":
        torch.save({"weights": torch.zeros(3)}, weights)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("NaN", "config.json holds Infinity, which Python writes and JSON does not have"),
        ("NaN in the info", "training_info.json holds NaN"),
        ("mark", "config.json begins with a byte order mark (EF BB BF)"),
        ("UTF-16", "server_mapping.json is UTF-16"),
        ("pointer", "model.safetensors is a Git LFS pointer, not the file itself"),
        ("pickle", "model.safetensors is a zip archive, as torch.save writes"),
    ],
)
@pytest.mark.parametrize("hashes", [True, False])
def test_another_format_is_refused_at_once_by_its_name(yard: Yard, how: str, says: str, hashes: bool) -> None:
    directory = yard.drop(A)
    if not hashes:
        (directory / INFO_FILE).unlink()
    write_otherwise(directory, how)
    yard.look()
    yard.pass_time(2.0)
    assert yard.states()[A] == "rejected"
    assert says in yard.reason(A)


def reading_the_day_before() -> NetworkSpec:
    network = tiny_spec().network
    lags = lag_inputs(tiny_spec().targets, ["day_before"])
    known = (*network.time_varying_reals_decoder, *lags)
    return msgspec.structs.replace(network, x_reals=(*network.x_reals, *lags), time_varying_reals_decoder=known)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"interval_seconds": 60}, "interval_seconds is 60, the window's is 300"),
        ({"max_encoder_length": 24}, "reads 24 slots, the window keeps 12"),
        ({"network": reading_the_day_before()}, "reads back 288 slots, the window keeps 12"),
        ({"metrics": ("cpu_user_pct", "mem_used_pct", "gpu_pct")}, "needs gpu_pct"),
        ({"quantiles": (0.2, 0.5, 0.9)}, "no quantile 0.1"),
    ],
)
def test_a_model_that_this_daemon_cannot_serve_is_refused(yard: Yard, change: dict[str, Any], says: str) -> None:
    spec = tiny_spec(**change)
    yard.drop(A, spec=spec)
    yard.look()
    assert yard.live_name is None
    assert says in yard.reason(A)


def test_after_a_bad_newest_the_next_best_goes_live(yard: Yard) -> None:
    yard.drop(A)
    damage(yard.drop(B), "infinite")
    yard.look()
    yard.pass_time(2.0)
    assert yard.live_name == A
    assert yard.states() == {B: "rejected", A: "live"}


def test_a_rejected_version_is_not_tried_again_not_even_after_a_restart(yard: Yard) -> None:
    yard.drop(A)
    damage(yard.drop(B), "infinite")
    yard.look()
    yard.pass_time(2.0)
    tries = len([event for event in yard.events if isinstance(event, ModelRejectedEvent)])
    yard.look()
    yard.start()
    yard.look()
    yard.pass_time(2.0)
    assert len([event for event in yard.events if isinstance(event, ModelRejectedEvent)]) == tries == 1
    assert yard.live_name == A


def test_a_rejected_version_whose_bytes_change_gets_a_new_try(yard: Yard) -> None:
    yard.drop(A)
    damage(yard.drop(B), "infinite")
    yard.look()
    yard.pass_time(2.0)
    (yard.models_dir / B / WEIGHTS_FILE).write_bytes(tiny_weights(tiny_spec(), seed=2))
    yard.look()
    yard.pass_time(2.0)
    assert yard.live_name == B


def test_only_touching_a_rejected_version_does_not_load_it(yard: Yard) -> None:
    yard.drop(A)
    damage(yard.drop(B), "infinite")
    yard.look()
    yard.pass_time(2.0)
    os.utime(yard.models_dir / B / WEIGHTS_FILE)
    yard.look()
    yard.pass_time(2.0)
    assert yard.live_name == A
    assert yard.states()[B] == "rejected"


def test_hashes_that_do_not_match_wait_for_the_rest(yard: Yard) -> None:
    """The info file came first, the weights are preallocated: right length, wrong bytes."""
    directory = yard.drop(B)
    whole = (directory / WEIGHTS_FILE).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    (directory / WEIGHTS_FILE).write_bytes(whole[:header] + bytes(len(whole) - header))
    yard.look()
    assert yard.live_name is None
    assert yard.states()[B] == "available"
    (directory / WEIGHTS_FILE).write_bytes(whole)
    yard.look()
    yard.pass_time(2.0)
    assert yard.live_name == B


def test_wrong_hashes_are_read_once_and_again_when_the_directory_stands_still(yard: Yard) -> None:
    """Else a large file that is overwritten in place is read, hashed and reported from one end to the other."""
    directory = yard.drop(A)
    yard.look()
    whole = tiny_weights(tiny_spec(), seed=2)
    for part in range(1, 6):
        with (directory / WEIGHTS_FILE).open("r+b") as file:
            file.write(whole[: len(whole) * part // 5])
        yard.look()
        yard.pass_time(0.5)
    assert [event.version for event in yard.events if isinstance(event, ModelRejectedEvent)] == [A]
    shutil.rmtree(directory)
    yard.drop(A, seed=2)
    yard.look()
    yard.pass_time(2.0)
    assert yard.generation == 2
    shutil.rmtree(directory)
    yard.drop(A, seed=3)
    yard.look()  # it kept its promise since: its hashes count again
    assert yard.generation == 3


def test_hashes_that_never_match_end_in_a_rejection(yard: Yard) -> None:
    directory = yard.drop(B)
    whole = bytearray((directory / WEIGHTS_FILE).read_bytes())
    whole[-1] ^= 1
    (directory / WEIGHTS_FILE).write_bytes(whole)
    yard.look()
    yard.pass_time(2.0)
    assert yard.live_name is None
    assert yard.states()[B] == "rejected"
    assert "sha256" in yard.reason(B)


def test_replaced_in_place_under_the_same_name_is_a_new_generation(yard: Yard) -> None:
    directory = yard.drop(A)
    yard.look()
    shutil.rmtree(directory)
    yard.look()
    assert yard.generation == 1  # a version that is gone from the disk stays live
    yard.drop(A, shift=0.5)
    yard.look()
    assert (yard.live_name, yard.generation) == (A, 2)


def test_what_is_wrong_with_the_live_ones_directory_is_shown_until_it_is_right_again(yard: Yard) -> None:
    directory = yard.drop(A)
    yard.look()
    whole = (directory / WEIGHTS_FILE).read_bytes()
    (directory / WEIGHTS_FILE).write_bytes(whole[:-1] + b"\1")
    yard.look()
    yard.pass_time(2.0)
    assert yard.states()[A] == "live"
    assert "its directory changed since, and was rejected: sha256" in yard.reason(A)
    (directory / WEIGHTS_FILE).write_bytes(whole)
    yard.look()
    assert yard.reason(A) == ""
    assert yard.generation == 1


def test_one_id_goes_from_the_first_sight_over_every_try_to_live(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "nordiq_watch")
    yard.look()
    directory = yard.drop(A)
    whole = (directory / WEIGHTS_FILE).read_bytes()
    (directory / WEIGHTS_FILE).write_bytes(whole[:-1])
    yard.look()
    yard.pass_time(2.0)
    (directory / WEIGHTS_FILE).write_bytes(whole[:-1] + b"\1")
    yard.look()
    (directory / WEIGHTS_FILE).write_bytes(whole)
    yard.look()
    yard.pass_time(2.0)
    assert yard.live_name == A
    seen, unfinished = caplog.records
    assert (seen.message.partition(":")[0], facts_of(seen)["drop"]) == (f"{A} was seen, not complete yet", "drop-1")
    assert ("is not complete" in unfinished.message, facts_of(unfinished)["drop"]) == (True, "drop-1")
    assert [(record.outcome, record.drop) for record in reversed(yard.service.recent(9))] == [
        ("rejected", "drop-1"),
        ("loaded", "drop-1"),
    ]
    assert [getattr(event, "drop", None) for event in yard.events] == ["drop-1", "drop-1"]


@pytest.mark.parametrize("end", ["live", "refused"])
def test_other_bytes_after_the_end_of_a_drop_are_another_drop(yard: Yard, end: str) -> None:
    directory = yard.drop(A)
    if end == "refused":
        (directory / WEIGHTS_FILE).write_bytes((directory / WEIGHTS_FILE).read_bytes()[:-1] + b"\1")
    yard.look()
    yard.pass_time(3600.0)
    assert yard.states()[A] == {"live": "live", "refused": "rejected"}[end]
    shutil.rmtree(directory)
    yard.drop(A, seed=3)
    yard.look()
    yard.pass_time(2.0)
    record = yard.service.recent(1)[0]
    assert (record.outcome, record.drop) == ("loaded", "drop-2")
    assert {stage.name: stage.seconds for stage in record.stages}["complete"] < 3600


def test_the_same_bytes_written_again_are_not_loaded_again(yard: Yard) -> None:
    directory = yard.drop(A)
    yard.look()
    weights = directory / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes())
    yard.look()
    yard.pass_time(2.0)
    assert yard.generation == 1
    (record,) = yard.service.recent(1)
    assert (record.outcome, [stage.name for stage in record.stages]) == ("unchanged", ["seen", "complete", "queued"])


def test_a_models_directory_that_disappears_unloads_nothing(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    shutil.rmtree(yard.models_dir)
    yard.look()
    assert yard.live_name == A
    yard.models_dir.mkdir()
    yard.drop(B)
    yard.look()
    assert yard.live_name == B


class FailingLoader(Loader):
    """Fails as often as told with the given error, then works."""

    def __init__(self, inner: Loader, error: Exception, times: int) -> None:
        self._inner, self._error, self.left = inner, error, times

    def read(self, version: Version) -> ModelFiles:
        if self.left:
            self.left -= 1
            raise self._error
        return self._inner.read(version)

    def build(self, version: Version, files: ModelFiles, *, generation: int) -> Servable:
        return self._inner.build(version, files, generation=generation)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_what_the_machine_does_is_tried_again_later_and_later(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failures = [3]
    real = read_model

    def read(path: Path, *_: object) -> ModelFiles:
        if failures[0]:
            failures[0] -= 1
            raise OSError(number, os.strerror(number), "model.safetensors")
        return real(path)

    monkeypatch.setattr("nordiq_watch.reload.loader.read_model", read)
    yard.drop(A)
    yard.look()
    assert failures == [2]
    assert yard.states()[A] == "available"
    assert os.strerror(number) in yard.reason(A)
    yard.pass_time(0.9)
    assert failures == [2]
    yard.pass_time(0.2)
    assert failures == [1]
    yard.pass_time(1.9)
    assert failures == [1]
    yard.pass_time(0.2)
    assert failures == [0]
    yard.pass_time(4.1)
    assert yard.live_name == A


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), MemoryError()])
def test_a_version_that_cannot_even_be_judged_is_looked_at_again_later_and_later(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    looks = []

    def judge(path: Path) -> None:
        looks.append(yard.now)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(catalogue_module, "judge", judge)
        yard.drop(A)
        yard.look()
        for _ in range(65):
            yard.pass_time(0.1)
    assert np.round(np.diff(looks)).tolist() == [1, 2]
    assert (yard.live_name, yard.store.current.refusals) == (None, {})
    yard.pass_time(1.1)
    assert yard.live_name == A


def test_a_models_directory_that_cannot_be_listed_unloads_and_forgets_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    yard.drop(A)
    yard.look()
    yard.drop(B, hashes=False)
    yard.look()

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", refuse)
        for _ in range(3):
            yard.look()
        record = yard.ask(LoadLatest())
        assert (record.outcome, record.reason) == ("rejected", "models/ cannot be listed (Too many open files)")
        assert yard.live_name == A
    assert caplog.text.count("models/ cannot be listed") == 1
    yard.pass_time(1.1)
    assert yard.live_name == B


def test_an_error_that_nobody_foresaw_does_not_stop_the_worker(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    yard.drop(A)
    yard.look()
    yard.start(loader=FailingLoader(Loader(requirements_of(yard.settings.config)), KeyError("surprise"), times=1))
    yard.look()  # the restart's first load fails
    assert yard.live_name is None
    assert "internal: KeyError" in yard.reason(A)
    (failed,) = (record for record in caplog.records if record.exc_info)
    assert facts_of(failed) == {"version": A, "reload": 2, "drop": yard.service.recent(1)[0].drop}
    yard.drop(B)
    yard.look()
    assert yard.live_name == B


class TestRequests:
    def test_latest(self, yard: Yard) -> None:
        yard.drop(A)
        record = yard.ask(LoadLatest())
        assert (record.outcome, record.version, record.trigger) == ("loaded", A, "api")
        assert yard.ask(LoadLatest()).outcome == "unchanged"

    def test_nothing_there(self, yard: Yard) -> None:
        assert yard.ask(LoadLatest()).outcome == "not_found"
        assert yard.ask(LoadVersion(A)).outcome == "not_found"

    def test_a_named_version_is_pinned_and_newer_drops_wait(self, yard: Yard) -> None:
        yard.drop(A)
        yard.drop(B)
        yard.look()
        assert yard.ask(LoadVersion(A)).outcome == "loaded"
        assert yard.service.pinned == A
        yard.drop(C)
        yard.look()
        assert yard.live_name == A
        assert yard.ask(LoadLatest()).outcome == "loaded"
        assert yard.live_name == C
        assert yard.service.pinned is None

    def test_unpin_lets_the_newest_go_live(self, yard: Yard) -> None:
        yard.drop(A)
        yard.ask(LoadVersion(A))
        yard.drop(B)
        yard.look()
        assert yard.live_name == A
        yard.ask(Unpin())
        assert (yard.live_name, yard.service.pinned) == (B, None)

    def test_a_pin_survives_a_restart(self, yard: Yard) -> None:
        yard.drop(A)
        yard.drop(B)
        yard.ask(LoadVersion(A))
        yard.start()
        yard.look()
        assert (yard.live_name, yard.service.pinned) == (A, A)

    def test_a_pinned_version_that_is_gone_does_not_leave_the_daemon_without_a_model(self, yard: Yard) -> None:
        yard.drop(A)
        yard.drop(B)
        yard.ask(LoadVersion(A))
        shutil.rmtree(yard.models_dir / A)
        yard.start()
        yard.look()
        assert yard.live_name == B

    def test_a_bad_one_is_refused_and_not_pinned(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        damage(yard.drop(B), "infinite")
        record = yard.ask(LoadVersion(B))
        assert record.outcome == "rejected"
        assert "not finite" in not_none(record.reason)
        assert (record.previous, record.current, yard.service.pinned) == (A, A, None)

    def test_an_incomplete_one_is_refused_but_may_still_be_finished(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        directory = yard.drop(B)
        weights = (directory / WEIGHTS_FILE).read_bytes()
        (directory / WEIGHTS_FILE).write_bytes(weights[:100])
        assert "incomplete" in not_none(yard.ask(LoadLatest()).reason)
        (directory / WEIGHTS_FILE).write_bytes(weights)
        yard.look()
        assert yard.live_name == B

    def test_one_without_hashes_is_watched_before_it_is_loaded(self, yard: Yard) -> None:
        directory = yard.drop(A, hashes=False)
        yard.on_pause = lambda: os.utime(directory / WEIGHTS_FILE)
        assert "still being written" in not_none(yard.ask(LoadLatest()).reason)
        yard.on_pause = lambda: None
        assert yard.ask(LoadLatest()).outcome == "loaded"


class TestRollback:
    def test_back_to_the_version_before_without_reading_the_disk(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B, shift=0.5)
        yard.look()
        shutil.rmtree(yard.models_dir / A)
        record = yard.ask(RollBack())
        assert (record.outcome, record.version, record.previous, record.current) == ("loaded", A, B, A)
        assert (yard.live_name, yard.generation) == (A, 3)
        assert yard.model.identity.generation == 3

    def test_the_version_left_stays_away_but_newer_drops_go_live(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(C, shift=0.5)
        yard.look()
        yard.drop(B)
        yard.ask(RollBack())
        yard.look()
        assert yard.live_name == A  # neither C again, nor B, which is no newer drop than C
        assert yard.states() == {C: "quarantined", B: "available", A: "live"}
        yard.drop("tft_model_20250104_000000")
        yard.look()
        assert yard.live_name == "tft_model_20250104_000000"

    def test_the_version_left_gets_a_new_try_when_its_bytes_change(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        directory = yard.drop(C)
        yard.look()
        yard.ask(RollBack())
        os.utime(directory / WEIGHTS_FILE)
        yard.look()
        assert (yard.live_name, yard.states()[C]) == (A, "quarantined")
        shutil.rmtree(directory)
        yard.drop(C, seed=2)
        yard.look()
        assert (yard.live_name, yard.states()[C]) == (C, "live")

    def test_the_version_left_stays_left_whatever_becomes_of_its_directory(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        whole = yard.drop(C)
        yard.look()
        yard.drop(B)
        yard.ask(RollBack())
        kept = shutil.copytree(whole, yard.models_dir.parent / "kept")
        shutil.rmtree(whole)
        damage(yard.drop(C, seed=2), "infinite")
        yard.look()
        yard.pass_time(2.0)
        assert (yard.live_name, yard.states()[C]) == (A, "quarantined")
        assert "not finite" in yard.reason(C)
        shutil.rmtree(whole)
        shutil.copytree(kept, whole)
        yard.look()
        assert (yard.live_name, yard.states()[C]) == (A, "quarantined")

    def test_it_holds_after_a_restart(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(C)
        yard.drop(B)
        yard.look()
        yard.ask(RollBack())
        generation = yard.generation
        yard.start()
        yard.look()
        assert yard.live_name == A
        assert yard.states()[C] == "quarantined"
        assert yard.generation == generation + 1

    def test_twice_goes_back_two_versions_from_disk(self, yard: Yard) -> None:
        for name in (A, B, C):
            yard.drop(name)
            yard.look()
        yard.ask(RollBack())
        record = yard.ask(RollBack())
        assert (record.outcome, yard.live_name) == ("loaded", A)
        assert yard.states() == {C: "quarantined", B: "quarantined", A: "live"}

    def test_nothing_to_go_back_to(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        record = yard.ask(RollBack())
        assert record.outcome == "not_found"
        assert yard.live_name == A

    def test_it_ends_a_pin(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B)
        yard.ask(LoadVersion(B))
        yard.ask(RollBack())
        assert (yard.live_name, yard.service.pinned) == (A, None)

    def test_the_operator_may_load_a_quarantined_version_by_name(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B)
        yard.look()
        yard.ask(RollBack())
        assert yard.ask(LoadVersion(B)).outcome == "loaded"
        assert yard.states()[B] == "live"

    def test_a_version_replaced_in_place_goes_back_to_its_old_bytes(self, yard: Yard) -> None:
        directory = yard.drop(A)
        yard.look()
        old = yard.model.identity.sha256
        shutil.rmtree(directory)
        yard.drop(A, shift=0.5)
        yard.look()
        assert yard.model.identity.sha256 != old
        yard.ask(RollBack())
        assert yard.model.identity.sha256 == old
        yard.look()
        assert yard.model.identity.sha256 == old


def test_reload_numbers_go_on_after_a_restart(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    first = yard.service.recent(1)[0].id
    yard.start()
    yard.look()
    assert yard.service.recent(1)[0].id == first + 1
    assert not_none(yard.service.find(first)).outcome == "loaded"
