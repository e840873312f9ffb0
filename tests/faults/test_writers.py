"""Whatever writes a version, however slowly and in whatever order: it goes live whole, once, and nothing else does."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from support import writers
from support.daemon import wait_until
from support.drop_site import SETTLE_SECONDS, Reader, Site, check_goes_live, make_site
from support.writers import ORDERS, Writer

from nordiq_watch.reload.run import STAGES

pytestmark = pytest.mark.slow

SHARED_MEMORY = Path("/dev/shm")

WRITERS: dict[str, Writer] = {
    "renamed in": writers.rename_in,
    "renamed from .partial": writers.rename_from_partial,
    "moved in": writers.move_in,
    "cp -r": writers.copy,
    "cp -rp": writers.copy_preserving,
    "rsync": writers.sync,
    "rsync --inplace": writers.sync_in_place,
    **{f"file by file, {order}": writers.in_order(*names) for order, names in ORDERS.items()},
    "trickle": writers.trickle,
    "fallocate, then fill": writers.preallocate(writers.reserve),
    "truncate, then fill": writers.preallocate(writers.stretch),
    "memory map": writers.map_and_fill,
    "fsync late": writers.sync_late,
    "emptied and refilled": writers.refill,
}
WITH_EXTRAS: dict[str, Writer] = {
    **{name: WRITERS[name] for name in WRITERS if name.startswith(("renamed in", "rsync", "file by file", "trickle"))},
    "extras: fallocate, then fill": writers.preallocate(writers.reserve, last=writers.EXTRAS),
    "extras: truncate, then fill": writers.preallocate(writers.stretch, last=writers.EXTRAS),
}
POLLED = ("renamed in", "cp -rp", "file by file, weights last", "truncate, then fill", "memory map")
"""Every look of a polling daemon takes a second: some of each kind."""
REPLACERS: dict[str, Writer] = {
    "overwritten": writers.overwrite,
    "renamed over": writers.replace_files,
    "copied over": writers.copy_over,
    "rsync": writers.sync,
    "rsync --inplace": writers.sync_in_place,
}


def each(named: dict[str, Writer]) -> list[object]:
    without_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
    return [
        pytest.param(writer, id=name, marks=[without_rsync] if name.startswith("rsync") else [])
        for name, writer in named.items()
    ]


@pytest.mark.parametrize("write", each(WRITERS))
@pytest.mark.parametrize("hashes", [True, False], ids=["hashes", "no hashes"])
@pytest.mark.parametrize("site", ["inotify"], indirect=True)
def test_a_version_goes_live_when_it_is_whole(site: Site, reader: Reader, write: Writer, hashes: bool) -> None:
    check_goes_live(site, reader, site.shelf.make(hashes=hashes), write)


@pytest.mark.parametrize("write", each(WITH_EXTRAS))
@pytest.mark.parametrize("hashes", [True, False], ids=["hashes", "no hashes"])
@pytest.mark.parametrize("site", ["inotify"], indirect=True)
def test_a_version_with_extras_goes_live_with_them(site: Site, reader: Reader, write: Writer, hashes: bool) -> None:
    """Its network alone would answer otherwise than it does."""
    made = site.shelf.make(hashes=hashes, extras=True)
    check_goes_live(site, reader, made, write)
    info = site.daemon.model_info()
    content = (site.daemon.models / made.name / "extras.safetensors").read_bytes()
    assert (info["members"], info["extras_sha256"]) == (["network", "linear"], hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("write", each({name: REPLACERS[name] for name in ("renamed over", "rsync", "copied over")}))
def test_extras_replaced_in_place_are_a_new_generation(site: Site, reader: Reader, write: Writer) -> None:
    first = site.shelf.make(extras=True)
    site.drop(first)
    site.go_live(first)
    check_goes_live(site, reader, site.shelf.make(name=first.name, extras=True), write)


@pytest.mark.parametrize("write", each({name: WRITERS[name] for name in POLLED}))
@pytest.mark.parametrize("hashes", [True, False], ids=["hashes", "no hashes"])
@pytest.mark.parametrize("site", ["poll"], indirect=True)
def test_polling_sees_what_inotify_sees(site: Site, reader: Reader, write: Writer, hashes: bool) -> None:
    check_goes_live(site, reader, site.shelf.make(hashes=hashes), write)


@pytest.mark.parametrize("write", each(REPLACERS))
def test_a_version_replaced_in_place_is_a_new_generation_when_it_is_whole_again(
    site: Site, reader: Reader, write: Writer
) -> None:
    """With hashes: without them, nothing tells half of one version and half of another from a whole one."""
    first = site.shelf.make()
    site.drop(first)
    site.go_live(first)
    check_goes_live(site, reader, site.shelf.make(name=first.name), write)


def test_a_version_moved_in_from_another_file_system(site: Site, reader: Reader) -> None:
    made = site.shelf.make()
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == made.path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as elsewhere:
        shutil.move(made.path, elsewhere)
        source = Path(elsewhere) / made.name
        check_goes_live(site, reader, made, lambda _, target, pause: writers.move_across(source, target, pause))


def test_a_linked_models_directory_and_one_that_is_linked_anew(tmp_path: Path) -> None:
    site = make_site(tmp_path, watch={"settle_seconds": SETTLE_SECONDS, "rescan_seconds": 3600})
    models, moved, other = site.daemon.models, tmp_path / "moved", tmp_path / "other"
    models.rename(moved)
    models.symlink_to(moved)
    with site, Reader(site.daemon) as reader:
        check_goes_live(site, reader, site.shelf.make(), writers.in_order(*ORDERS["weights last"]))

        def link_anew(source: Path, *_: object) -> None:
            other.mkdir()
            source.rename(other / source.name)
            (tmp_path / "link").symlink_to(other)
            (tmp_path / "link").rename(models)

        check_goes_live(site, reader, site.shelf.make(), link_anew)


def test_the_log_leads_from_a_drop_to_its_reload_and_all_its_stages(site: Site) -> None:
    made, last = site.shelf.make(), site.last_reload()
    site.drop(made)
    site.go_live(made)
    [reload] = site.reloads_since(last)
    assert [stage["name"] for stage in reload["stages"]] == list(STAGES)
    told = f"reload {reload['id']}: {made.name} is live: "
    [line] = wait_until(lambda: [line for line in site.daemon.log.splitlines() if told in line], what="the line")
    assert re.search(r"\(" + ", ".join(rf"{stage} [0-9.]+" for stage in STAGES) + r"\)$", line)


def test_of_ten_at_once_only_the_newest_is_loaded(site: Site, reader: Reader) -> None:
    made = [site.shelf.make(hashes=number % 2 == 1) for number in range(10)]

    def write_all(*_: object) -> None:
        site.daemon.signal(signal.SIGSTOP)
        for one in made:
            site.drop(one)
        site.daemon.signal(signal.SIGCONT)

    check_goes_live(site, reader, made[-1], write_all)


@pytest.mark.parametrize("noticed", [True, False], ids=["seen to be gone", "back at once"])
def test_a_models_directory_deleted_and_made_again(site: Site, reader: Reader, noticed: bool) -> None:
    made = site.shelf.make()

    def delete_and_write(*_: object) -> None:
        shutil.rmtree(site.daemon.models)
        if noticed:
            wait_until(lambda: f"{site.daemon.models} is not there" in site.daemon.log, what="the log to miss it")
            assert site.daemon.request("GET", "/ready").status_code == 200
        site.daemon.models.mkdir()
        site.drop(made)

    check_goes_live(site, reader, made, delete_and_write)
