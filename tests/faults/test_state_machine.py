"""Anything may happen to the models directory, and anyone may ask for anything: what is live is what must be live.

The machine does both to a real reload chain on real directories, and keeps beside it a model without files, times,
threads or hashes. NORDIQ_TEST_SEED sets the (first) seed.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.drop_site import weights_sha256
from support.length import at_length, seeds
from support.models import drop_model
from support.yard import SETTLE_SECONDS, Yard

from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, RollBack, Unpin

pytestmark = [pytest.mark.slow, pytest.mark.long]

SEEDS = seeds(int(os.environ.get("NORDIQ_TEST_SEED", "20250130")), long=10)
EXAMPLES = at_length(100, short=40)
NAMES = [f"tft_model_2025010{day}_000000" for day in range(1, 5)]
BYTES = (1, 2, 3)

names = st.sampled_from(NAMES)
places = st.integers(0, len(NAMES) - 1)
something_is_there = precondition(lambda machine: machine.model.disk)


@dataclass
class Directory:
    """bytes: which of BYTES it holds. good: whether they would pass every check. Only touching changes nothing."""

    bytes: int
    whole: bool = True
    good: bool = True


@dataclass
class Model:
    """What must be so. Newer names are greater. A pair is a name and the bytes that it stands for."""

    disk: dict[str, Directory] = field(default_factory=dict)
    live: tuple[str, int] | None = None
    kept: tuple[str, int] | None = None
    lineage: list[str] = field(default_factory=list)
    quarantine: dict[str, int] = field(default_factory=dict)
    pinned: str | None = None
    generation: int = 0

    def look(self) -> None:
        target = self._target()
        if target is not None:
            self._put_live(target)

    def _target(self) -> str | None:
        usable = sorted((name for name in self.disk if self._is_usable(name)), reverse=True)
        live, base = self.live and self.live[0], self.lineage[-1] if self.lineage else ""
        if self.pinned in usable:
            return self.pinned
        newer = [name for name in usable if all(name > other for other in {base, *self.quarantine} - {name} | {base})]
        if live is None:
            return next(iter([*newer, *(name for name in usable if name == base), *usable]), None)
        if newer and not self.pinned:
            return newer[0]
        return live if live in usable else None

    def _is_usable(self, name: str) -> bool:
        there = self.disk[name]
        return there.whole and there.good and self.quarantine.get(name) != there.bytes

    def _put_live(self, name: str) -> str:
        """What a reload of it answers."""
        there = (name, self.disk[name].bytes)
        if there == self.live:
            return "unchanged"
        self._swap(there, kept=self.live)
        self.quarantine.pop(name, None)
        self.lineage = [other for other in self.lineage if other != name] + [name]
        return "loaded"

    def _swap(self, pair: tuple[str, int], *, kept: tuple[str, int] | None) -> None:
        self.live, self.kept = pair, kept
        self.generation += 1

    def load(self, name: str | None, *, pin: str | None) -> str:
        if name not in self.disk:
            return "not_found"
        if not (self.disk[name].whole and self.disk[name].good):
            return "rejected"
        self.pinned = pin
        return self._put_live(name)

    def load_latest(self) -> str:
        return self.load(max((name for name in self.disk if name not in self.quarantine), default=None), pin=None)

    def roll_back(self) -> str:
        before = self.kept[0] if self.kept else self.lineage[-2] if len(self.lineage) > 1 else None
        if self.live is None or before is None or (self.kept is None and before not in self.disk):
            return "not_found"
        if self.kept is None and not (self.disk[before].whole and self.disk[before].good):
            return "rejected"
        left = self.live
        self._swap(self.kept or (before, self.disk[before].bytes), kept=None)
        self.pinned = None
        self.quarantine.pop(before, None)
        self.quarantine[left[0]] = left[1]
        self.lineage = [name for name in self.lineage if name not in (before, left[0])] + [before]
        return "loaded"

    def restart(self) -> None:
        self.live = self.kept = None


class ReloadMachine(RuleBasedStateMachine):
    """Every rule ends when nothing more would happen by itself."""

    shelf = Path()

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="nordiq-machine-"))
        self.models = self.root / "models"
        self.models.mkdir()
        self.yard = Yard(self.models, self.root / "state")
        self.model = Model()
        self.hashes = True

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    # What happens to the directories

    @initialize(hashes=st.booleans())
    def begin(self, hashes: bool) -> None:
        """All versions carry hashes, or none: of both kinds, an older one may go live while a newer one settles."""
        self.hashes = hashes

    @rule(name=names, content=st.sampled_from(BYTES))
    def drop(self, name: str, content: int) -> None:
        shutil.rmtree(self.models / name, ignore_errors=True)
        shutil.copytree(self.shelf / f"{content}" / name, self.models / name)
        if not self.hashes:
            (self.models / name / "training_info.json").unlink()
        self.model.disk[name] = Directory(content)

    @something_is_there
    @rule(place=places)
    def touch(self, place: int) -> None:
        _, weights = self.pick(place)
        os.utime(weights)

    @something_is_there
    @rule(place=places)
    def truncate(self, place: int) -> None:
        name, weights = self.pick(place)
        os.truncate(weights, weights.stat().st_size - 4)
        self.model.disk[name].whole = False

    @something_is_there
    @rule(place=places)
    def spoil(self, place: int) -> None:
        """Numbers that load and look whole, but forecast nothing."""
        name, weights = self.pick(place)
        content = bytearray(weights.read_bytes())
        begin = 8 + int.from_bytes(content[:8], "little")
        content[begin:] = np.full((len(content) - begin) // 4, np.inf, np.float32).tobytes()
        weights.write_bytes(content)
        self.model.disk[name].good = False

    @something_is_there
    @rule(place=places)
    def delete(self, place: int) -> None:
        name, weights = self.pick(place)
        shutil.rmtree(weights.parent)
        del self.model.disk[name]

    def pick(self, place: int) -> tuple[str, Path]:
        """One of the directories that there are, and its weights."""
        name = sorted(self.model.disk)[place % len(self.model.disk)]
        return name, self.models / name / "model.safetensors"

    # Who looks, and who asks

    @rule()
    def look(self) -> None:
        self.yard.look()
        self.settle()

    @rule()
    def reload_latest(self) -> None:
        self.ask(LoadLatest(), self.model.load_latest())

    @rule(name=names)
    def reload(self, name: str) -> None:
        self.ask(LoadVersion(name), self.model.load(name, pin=name))

    @rule()
    def roll_back(self) -> None:
        self.ask(RollBack(), self.model.roll_back())

    @rule()
    def unpin(self) -> None:
        self.model.pinned = None
        self.ask(Unpin(), "unpinned")

    @rule()
    def restart(self) -> None:
        self.yard.start()
        self.model.restart()
        self.look()

    def ask(self, job: Job, expected: str) -> None:
        live = self.model.live and self.model.live[0]
        record = self.yard.ask(job)
        note(f"{job}: {record.outcome}, {record.reason}")
        assert (record.outcome, record.current) == (expected, live)
        self.yard.look()
        self.settle()

    def settle(self) -> None:
        """Time passes until every directory has stood still, and the model looks as the worker did."""
        for _ in range(4):
            self.yard.pass_time(SETTLE_SECONDS)
        self.model.look()
        self.check()

    def check(self) -> None:
        live = self.yard.live.peek()
        assert (live and (live.name, live.identity.sha256)) == (self.model.live and self.sha256_of(*self.model.live))
        assert (self.yard.generation or self.model.generation) == self.model.generation
        assert self.yard.store.current.generation == self.model.generation
        assert self.yard.service.pinned == self.model.pinned
        assert self.yard.store.current.quarantined == set(self.model.quarantine)
        self.check_what_is_shown()
        reloads = self.yard.history.last_id
        self.yard.look()
        assert self.yard.history.last_id == reloads, "looking again began another reload"

    def check_what_is_shown(self) -> None:
        for status in self.yard.service.statuses():
            name, there = status.version.name, self.model.disk[status.version.name]
            if self.model.live and name == self.model.live[0]:
                assert status.state == "live"
                changed = not (there.whole and there.good and there.bytes == self.model.live[1])
                assert changed or status.reason is None
            elif not there.whole:
                assert status.state == "incomplete"
            elif there.good:
                left = self.model.quarantine.get(name) == there.bytes
                assert status.state in {"available", "previous"} | ({"quarantined"} if left else set())

    def sha256_of(self, name: str, content: int) -> tuple[str, str]:
        return name, weights_sha256(self.shelf / f"{content}" / name)


@pytest.mark.parametrize("chance", SEEDS)
def test_what_is_live_is_what_must_be_live(tmp_path: Path, caplog: pytest.LogCaptureFixture, chance: int) -> None:
    caplog.set_level(logging.CRITICAL)  # a thousand refusals would bury the failing steps
    for content in BYTES:
        for name in NAMES:
            drop_model(tmp_path / f"{content}", name, shift=content / 10, seed=content)
    ReloadMachine.shelf = tmp_path
    machine = seed(chance)(ReloadMachine)
    machine.TestCase.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase("runTest").runTest()
