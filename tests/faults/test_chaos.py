"""Everything at once: versions written in every way, broken, repaired, deleted; writers and the daemon killed; and
clients that read all the while. What they are told is held against all that was ever whole.

NORDIQ_TEST_SEED sets the (first) seed, NORDIQ_CHAOS_SECONDS how long it goes on with each.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from support import writers
from support.daemon import wait_until
from support.drop_site import Made, Outages, Reader, Said, Site, make_site
from support.length import at_length, seeds
from support.writers import CONFIG, INFO, MAPPING, ORDERS, WEIGHTS, Writer

pytestmark = [pytest.mark.slow, pytest.mark.long]

SEED = int(os.environ.get("NORDIQ_TEST_SEED", "20250130"))
SEEDS = seeds(SEED, long=5)
SECONDS = float(os.environ.get("NORDIQ_CHAOS_SECONDS", at_length("120", short="20")))
SETTLE_SECONDS = 0.2
SPOILS = ("short", "long", "infinite", "no config", "half a mapping")
WRITERS = 2
READERS = 2

DROP: tuple[Writer, ...] = (
    writers.rename_in,
    writers.rename_from_partial,
    writers.copy,
    writers.copy_preserving,
    writers.trickle,
    writers.sync_late,
    writers.refill,
    *(writers.in_order(*order) for order in ORDERS.values()),
)
DROP_WITH_HASHES = (*DROP, writers.preallocate(writers.reserve), writers.preallocate(writers.stretch))
REPLACE: tuple[Writer, ...] = (writers.overwrite, writers.replace_files, writers.copy_over)


class Writing:
    """One who writes versions until the time is over, good ones and bad ones; names are nobody's but its own.

    made: every version that it has ever written or begun to write. latest: what each name was last meant to hold.
    """

    def __init__(self, site: Site, outages: Outages, chance: random.Random, stop_at: float) -> None:
        self.chance = chance
        self.site = site
        self.outages = outages
        self.stop_at = stop_at
        self.made: list[Made] = []
        self.latest: dict[str, Made] = {}
        self.hashed: set[str] = set()

    def run(self) -> None:
        acts: list[Callable[[], None]] = [*[self.drop] * 4, self.drop_bad, self.die, self.replace, self.repair]
        acts += [self.delete, self.ask]
        while time.monotonic() < self.stop_at:
            self.chance.choice(acts)()

    def stall(self) -> None:
        """Now and then longer than a directory has to stand still."""
        time.sleep(self.chance.choice((0, 0, 0.05, 1.5 * SETTLE_SECONDS)))

    def make(self, name: str | None = None) -> Made:
        hashes = name is not None or self.chance.random() < 0.5
        made = self.site.shelf.make(name=name, hashes=hashes)
        self.made.append(made)
        self.latest[made.name] = made
        (self.hashed.add if hashes else self.hashed.discard)(made.name)
        return made

    def at(self, made: Made) -> Path:
        return self.site.daemon.models / made.name

    def drop(self) -> None:
        made = self.make()
        write = self.chance.choice(DROP_WITH_HASHES if made.name in self.hashed else DROP)
        write(made.path, self.at(made), self.stall)

    def drop_bad(self) -> None:
        """Something that never was a version and must never answer: it is on no list."""
        hashes = self.chance.random() < 0.5
        made = self.site.shelf.make(hashes=hashes)
        spoil(made.path, self.chance.choice([*SPOILS, "one bit"] if hashes else SPOILS))
        self.chance.choice(DROP)(made.path, self.at(made), self.stall)

    def die(self) -> None:
        made = self.make()
        count = self.chance.randrange(1, (made.path / WEIGHTS).stat().st_size)
        writers.die_after(count, *self.chance.choice(list(ORDERS.values())))(made.path, self.at(made), self.stall)

    def replace(self) -> None:
        """Only where there are hashes: without them nobody can tell half of two versions from one."""
        there = [name for name in sorted(self.hashed) if is_whole(self.at(self.latest[name]), self.latest[name])]
        if there:
            made = self.make(self.chance.choice(there))
            self.chance.choice(REPLACE)(made.path, self.at(made), self.stall)

    def repair(self) -> None:
        broken = [made for made in self.latest.values() if self.at(made).exists() and not is_whole(self.at(made), made)]
        if broken:
            made = self.chance.choice(broken)
            writers.write_in_order(made.path, self.at(made), self.stall, ORDERS["weights first"])

    def delete(self) -> None:
        there = [made for made in self.latest.values() if self.at(made).exists()]
        if len(there) > 3:
            shutil.rmtree(self.at(self.chance.choice(there[:-2])))

    def ask(self) -> None:
        """For the latest, whatever state that is in."""
        was_down = self.outages.watch()
        try:
            response = self.site.daemon.request("POST", "/admin/reload-model")
        except requests.RequestException:
            assert was_down()
        else:
            assert response.status_code in (200, 202, 404, 422), response.text


def spoil(directory: Path, how: str) -> None:
    """Beyond what any check lets through; one bit is for the hashes to find."""
    weights = directory / WEIGHTS
    content = bytearray(weights.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    if how == "one bit":
        content[-1] ^= 1
    elif how == "short":
        del content[-1000:]
    elif how == "long":
        content += b"\0"
    elif how == "infinite":
        content[header:] = np.full((len(content) - header) // 4, np.inf, np.float32).tobytes()
    elif how == "no config":
        (directory / CONFIG).unlink()
    else:
        (directory / MAPPING).write_bytes((directory / MAPPING).read_bytes()[:-10])
    weights.write_bytes(content)


def is_whole(directory: Path, made: Made) -> bool:
    """Whether it holds what it was meant to hold. training_info.json may be missing, but not be another one."""
    for name in (WEIGHTS, CONFIG, MAPPING, INFO):
        source, copy = made.path / name, directory / name
        if not copy.exists() and name == INFO:
            continue
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            return False
    return True


def kill_daemon_until(stop_at: float, site: Site, outages: Outages, chance: random.Random) -> None:
    """At least twice, however long a start takes on a busy machine."""
    while time.monotonic() < stop_at or outages.number < 2:
        time.sleep(chance.uniform(1, 4))
        with outages.one():
            site.daemon.kill()
            site.daemon.start()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_answers_was_whole_and_whoever_asks_is_answered(tmp_path: Path, seed: int) -> None:
    outages = Outages()
    watch = {"settle_seconds": SETTLE_SECONDS, "rescan_seconds": 1}
    with make_site(tmp_path, watch=watch) as site:
        readers = [Reader(site.daemon, outages) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        stop_at = time.monotonic() + SECONDS
        at_work = [Writing(site, outages, random.Random(f"{seed}/{number}"), stop_at) for number in range(WRITERS)]
        with ThreadPoolExecutor() as pool:
            written = [pool.submit(writing.run) for writing in at_work]
            kill_daemon_until(stop_at, site, outages, random.Random(seed))
        for future in written:
            future.result()

        made = [site.first, *(one for writing in at_work for one in writing.made)]
        there = [one for writing in at_work for one in writing.latest.values() if is_whole(writing.at(one), one)]
        newest = max(there, key=lambda one: one.name)
        wait_until(lambda: is_live(site, newest, made), what=f"{newest.name}, the newest whole one, to be live")
        for reader in readers:
            reader.stop()

    for reader in readers:
        assert reader.failures == []
        check_said(reader.said, made)
    assert outages.number >= 2
    assert sum(len(reader.said) for reader in readers) > 10


def is_live(site: Site, newest: Made, made: list[Made]) -> bool:
    """Or one that is newer still and was whole: it is in memory, whatever became of its directory."""
    info = site.daemon.model_info()
    if info.get("sha256") == newest.sha256:
        return True
    return any(one.sha256 == info.get("sha256") and one.name > newest.name for one in made)


def check_said(said: list[Said], made: list[Made]) -> None:
    """Every answer by a version that was made, generations never back, and never one for two versions."""
    known = {(one.name, one.sha256): one for one in made}
    for one in said:
        assert (one.version, one.sha256) in known, f"{one} was never made"
        assert known[one.version, one.sha256].said(one.generation) == one
    generations = [one.generation for one in said]
    assert generations == sorted(set(generations))
