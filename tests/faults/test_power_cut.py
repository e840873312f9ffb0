"""After a power cut, what was answered is there: real stores write under strace, and start from every possible disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support import strace
from support.batches import METRICS, samples_of
from support.disk import Disk
from support.power_cut import images
from support.translators import Clock, make_translator, series

from nordiq_watch.api.enums import ReloadState, ReloadTrigger
from nordiq_watch.artifact.reader import read_model
from nordiq_watch.artifact.signature import read_private_key, trust_in
from nordiq_watch.atomic_file import make_directories
from nordiq_watch.ingest.formats.resumption import Stop, resume
from nordiq_watch.ingest.formats.translator_state import read_state
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.security.key_file import read_key_file
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.decisions import DecisionStore
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.journal import Journal

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent.parent
PREAMBLE = """
import os
from pathlib import Path
root = Path(sys.argv[1])
answers = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def answer(line):
    os.write(answers, f"{line}\\n".encode())
"""

Check = Callable[[Path, Sequence[str]], None]
Prepare = Callable[[Path], object]
BEFORE: dict[str, Prepare] = {
    "nothing": lambda _: None,
    "directories": lambda root: (root / "state/archive").mkdir(parents=True),
}


def cut_everywhere(tmp_path: Path, script: str, check: Check, *, prepare: Prepare) -> int:
    """Runs the script, then the check on all that a start may find after a cut; returns how many different disks.

    prepare: makes what is on the disk before.
    """
    root, answers = tmp_path / "disk", tmp_path / "answers"
    root.mkdir()
    prepare(root)
    disk = Disk(root, answers=answers)
    calls = strace.record(PREAMBLE + script, str(root), str(answers), into=tmp_path / "calls", path=(TESTS,))
    count = 0
    for count, image in enumerate(images(calls, disk), 1):
        place = tmp_path / f"image-{count}"
        image.write(place)
        try:
            check(place, image.answered)
        except Exception as error:
            raise AssertionError(f"{image.moment}, {image.answered} answered: {error!r}") from error
    assert answers.read_text().splitlines() == disk.answered, "the replay saw all that the program answered"
    return count


SAMPLES = """
from support.batches import METRICS, Sample, make_batch
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
state = root / "state"
first = 20_000 * 288 - 4
window = Window(METRICS, interval_seconds=300, length=4, max_servers=99, silent_seconds=10**6)
journal = Journal(state / "journal.sqlite3", metrics=METRICS, interval_seconds=300)
archive = Archive(state / "archive", metrics=METRICS, interval_seconds=300, days=30)
sample_store = SampleStore(journal, archive, window, future_seconds=300, clock=lambda: (first + 20) * 300.0)
sample_store.restore()
for slot in range(first, first + 9):
    sample_store.store(make_batch([Sample(f"s{slot % 3}", slot), Sample("all", slot)]))
    answer(slot)
"""


@pytest.mark.parametrize("before", BEFORE)
def test_no_accepted_batch_is_lost(tmp_path: Path, before: str) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        journal = Journal(place / "state/journal.sqlite3", metrics=METRICS, interval_seconds=300)
        archive = Archive(place / "state/archive", metrics=METRICS, interval_seconds=300, days=30)
        batches = [*archive.replay(0, 10**7), *journal.replay(0)]
        journal.close()
        found = {(sample.server, sample.slot) for batch in batches for sample in samples_of(batch)}
        lost = {(name, int(slot)) for slot in answered for name in ("all", f"s{int(slot) % 3}")} - found
        assert not lost, f"{sorted(lost)} are lost"
        assert not list(place.glob("**/*.corrupt-*"))

    assert cut_everywhere(tmp_path, SAMPLES, check, prepare=BEFORE[before]) > 100


DECISIONS = """
from nordiq_watch.storage.decisions import DecisionStore, Refusal, RefusalState
store = DecisionStore(root / "state" / "decisions.json")
refusal = Refusal(state=RefusalState.QUARANTINED, fingerprint="f", reason="rolled back", at=0.0)
steps = [
    lambda now: now.with_pin("a"),
    lambda now: now.with_live("b", 2),
    lambda now: now.with_rollback("b", to="a", generation=3, refusal=refusal),
    lambda now: now.with_pin(None),
    lambda now: now.with_pin("c"),
]
for step in steps:
    store.save(step(store.current))
    answer(f"{store.current.pinned} {store.current.live} {len(store.current.quarantined)}")
"""
DECIDED = ("None None 0", "a None 0", "a b 0", "None a 1", "None a 1", "c a 1", "c a 1")


@pytest.mark.parametrize("before", BEFORE)
def test_no_answered_pin_or_rollback_is_undone(tmp_path: Path, before: str) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        found = DecisionStore(place / "state/decisions.json").current
        said = f"{found.pinned} {found.live} {len(found.quarantined)}"
        assert said in DECIDED[len(answered) : len(answered) + 2], f"pinned, live and quarantined are {said}"

    assert cut_everywhere(tmp_path, DECISIONS, check, prepare=BEFORE[before]) > 10


COLLECTORS = """
from support.translators import AT, Clock, make_translator, series
from nordiq_watch.atomic_file import make_directories
from nordiq_watch.ingest.formats.resumption import Stop, resume
from nordiq_watch.ingest.formats.translator_state import read_state, write_state
clock, state = Clock(), root / "state"
logs = state / "collectors"
make_directories(logs)
def start():
    found = read_state(state / "collectors.msgpack")
    stop = None if found is None else Stop(found[0], found[1]["feeders.test"])
    translator = make_translator(clock=clock)
    assert resume(translator, logs, stop, retain_seconds=1500, now=clock.now) is None
    return translator
translator = start()
for number in range(20):
    clock.now += 40
    translator.translate([series("node_load1", (number, float(number)))])
    translator.sync()
    answer(number)
    if number in (8, 14):
        if number == 8:
            write_state(state / "collectors.msgpack", {"feeders.test": translator.save()}, now=clock.now)
        translator.close()
        translator = start()
"""


@pytest.mark.parametrize("before", [*BEFORE, "logs"])
def test_no_answered_sample_of_a_collector_is_lost_while_its_slot_is_open(tmp_path: Path, before: str) -> None:
    """Over new segments, a stop with a state, and one without: the slot is the mean of all that was answered."""

    def check(place: Path, answered: Sequence[str]) -> None:
        clock, logs = Clock(), place / "state/collectors"
        clock.now += 40 * (len(answered) + 1)
        found = read_state(place / "state/collectors.msgpack")
        stop = None if found is None else Stop(found[0], found[1]["feeders.test"])
        translator = make_translator(clock=clock, lateness_seconds=5000)
        make_directories(logs)
        assert resume(translator, logs, stop, retain_seconds=1500, now=clock.now) is None
        readings = translator.translate([series("node_load1", (100, 0.0))]).readings
        translator.close()
        values = [reading.values["load_average"] for reading in readings]
        wanted = [sum(range(number)) / (number + 1) for number in (len(answered), len(answered) + 1)]
        assert any(values[-1] == pytest.approx(one) for one in wanted), f"the slot says {values}, and not {wanted}"

    prepare = BEFORE.get(before, lambda root: (root / "state/collectors").mkdir(parents=True))
    assert cut_everywhere(tmp_path, COLLECTORS, check, prepare=prepare) > 50


KEYS = """
from nordiq_watch.security.key_file import KeyFile, add_entry, revoke, write_key_file
path = root / "keys"
write_key_file(path, KeyFile(plain="secret"))
answer("+local")
for key_id in ("a", "b"):
    add_entry(path, key_id, "read", created="now")
    answer(f"+{key_id}")
revoke(path, "a")
answer("-a")
revoke(path, "local")
answer("-local")
"""
KEY_STEPS = ({"local"}, {"local", "a"}, {"local", "a", "b"}, {"local", "b"}, {"b"})


def test_no_key_that_was_made_is_lost_and_none_that_was_revoked_is_back(tmp_path: Path) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        content = read_key_file(place / "keys")
        ids = set() if content is None else {entry.id for entry in content.entries}
        if content is not None and content.plain is not None:
            ids.add("local")
        steps: tuple[set[str], ...] = (set(), *KEY_STEPS, set())
        assert ids in steps[len(answered) : len(answered) + 2], f"the keys are {ids}"

    assert cut_everywhere(tmp_path, KEYS, check, prepare=BEFORE["nothing"]) > 10


RELOADS = """
from nordiq_watch.api.enums import ReloadState, ReloadTrigger
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.history import ReloadHistory
history = ReloadHistory(root / "state" / "reloads.jsonl")
for number in range(history.last_id + 1, history.last_id + 5):
    history.add(ReloadRecord(number, ReloadTrigger.API, None, ReloadState.FINISHED, 0.0))
    answer(number)
"""


def nearly_full(root: Path) -> None:
    """Two lines more, and the file is written anew."""
    (root / "state").mkdir()
    record = ReloadRecord(1, ReloadTrigger.API, None, ReloadState.FINISHED, 0.0)
    lines = [msgspec.json.encode(replace(record, id=number)) for number in range(1, 999)]
    (root / "state/reloads.jsonl").write_bytes(b"\n".join(lines) + b"\n")


@pytest.mark.parametrize("prepare", [BEFORE["nothing"], nearly_full], ids=["nothing", "nearly full"])
def test_no_answered_reload_is_forgotten(tmp_path: Path, prepare: Prepare) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        history = ReloadHistory(place / "state/reloads.jsonl")
        ids = {record.id for record in history.recent()}
        assert {int(number) for number in answered} <= ids, f"only {sorted(ids)[-5:]} are there"
        history.add(ReloadRecord(5000, ReloadTrigger.API, None, ReloadState.FINISHED, 0.0))
        after = {record.id for record in ReloadHistory(place / "state/reloads.jsonl").recent()}
        assert 5000 in after, "a line that was cut short swallows none that follows"

    assert cut_everywhere(tmp_path, RELOADS, check, prepare=prepare) > 10


SET_ASIDE = """
from support.batches import METRICS, Sample, make_batch
from nordiq_watch.storage.journal import Journal
journal = Journal(root / "state/journal.sqlite3", metrics=METRICS, interval_seconds=300)
for slot in range(3):
    journal.append([make_batch([Sample("a", slot)])])
    answer(slot)
"""


def damaged_journal(root: Path) -> None:
    (root / "state").mkdir()
    (root / "state/journal.sqlite3").write_bytes(b"no database " * 1000)
    (root / "state/journal.sqlite3-wal").write_bytes(b"no log " * 1000)


def test_a_journal_that_was_begun_anew_keeps_what_it_accepted(tmp_path: Path) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        journal = Journal(place / "state/journal.sqlite3", metrics=METRICS, interval_seconds=300)
        slots = {sample.slot for batch in journal.replay(0) for sample in samples_of(batch)}
        journal.close()
        assert {int(slot) for slot in answered} <= slots
        assert list(place.glob("state/*.corrupt-*")), "the damaged one is kept"

    assert cut_everywhere(tmp_path, SET_ASIDE, check, prepare=damaged_journal) > 10


PAST = """
import numpy as np
from dataclasses import replace
from support.alerts import LIFE
from nordiq_watch.storage.history import HistoryStore
store = HistoryStore(root / "state/history.sqlite3", slot_seconds=300)
for number, change in enumerate(LIFE, 1):
    store.add_changes([change])
    store.add_moment(number * 300.0, {}, {}, servers=("a", f"job-{number}"), scores=np.zeros(2))
    answer(number)
"""


def test_the_history_keeps_what_it_wrote(tmp_path: Path) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        store = HistoryStore(place / "state/history.sqlite3", slot_seconds=300)
        changes = [change for past in store.alerts(0) for change in past.changes]
        moments = store.moments(0)
        store.close()
        assert len(changes) >= len(answered)
        assert len(moments) >= len(answered)

    assert cut_everywhere(tmp_path, PAST, check, prepare=BEFORE["nothing"]) > 10


DROPS = """
from support.specs import write_whole_directory_with_extras
from nordiq_watch.artifact.signature import make_private_key, sign_model
from nordiq_watch.host.installation import write_whole
key = make_private_key(root / "signing.pem")
answer("signing key")
directory = write_whole_directory_with_extras(root / "models")
answer("version")
sign_model(directory, key)
answer("signature")
write_whole(root / "etc/nordiq-watch.service", "[Unit]\\n" * 1000, mode=0o644)
answer("unit")
"""


def test_a_version_a_signature_a_unit_and_a_key_are_whole_once_they_are_said_to_be_written(tmp_path: Path) -> None:
    def check(place: Path, answered: Sequence[str]) -> None:
        unit = place / "etc/nordiq-watch.service"
        assert not unit.exists() or unit.stat().st_size == 7000, "a unit is cut short"
        assert unit.exists() or "unit" not in answered
        versions = list((place / "models").glob("tft_model_*")) if (place / "models").exists() else []
        assert versions or "version" not in answered
        for version in versions:
            read_model(version)
            if (version / "signature.json").exists():
                content = json.loads((version / "signature.json").read_bytes())
                read_model(version, check_trust=trust_in([content["public_key"]]))
            else:
                assert "signature" not in answered
        if "signing key" in answered:
            read_private_key(place / "signing.pem")

    assert cut_everywhere(tmp_path, DROPS, check, prepare=BEFORE["nothing"]) > 10
