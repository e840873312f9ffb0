"""A batch in one BLOB: bytes that files of released versions have, and any change of them is noticed."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from support.batches import METRICS, Sample, make_batch

from nordiq_watch.storage.packed_samples import Layout, PackedSamples, pack

LAYOUT = Layout(3, METRICS, 300)
BATCH = make_batch(
    [
        Sample("a", -1, {"cpu_user_pct": 1.5, "mem_used_pct": 2.0}, status=4),
        Sample("b", 258, {"mem_used_pct": 0.5}, offset=299_999),
    ]
)
BATCH = replace(BATCH, counts=np.array([1, 300]))
BODY = bytes.fromhex(
    "07000000 00010000"  # server ids 7 and 256
    "ffffffffffffffff 0201000000000000"  # slots
    "04 00"  # statuses
    "0000c03f 00000040 0000c07f 0000003f"  # 1.5, 2; NaN, 0.5
    "00000000 df930400"  # milliseconds from the slot's begin
    "0100 2c01"  # samples that each row stands for
)
OLDER_BODY = BODY[:-12]  # of version 1


@pytest.fixture
def packed() -> PackedSamples:
    return pack(BATCH, np.array([7, 256]), LAYOUT)


def test_the_bytes_are_those_of_the_format(packed: PackedSamples) -> None:
    number_and_count = (3).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert packed == (LAYOUT, 2, zlib.crc32(number_and_count + BODY), BODY)
    assert packed.is_sound()


def test_what_was_packed_is_unpacked(packed: PackedSamples) -> None:
    columns = packed.unpack(METRICS)
    assert columns.server_ids.tolist() == [7, 256]
    assert columns.slots.tolist() == [-1, 258]
    assert columns.statuses.tolist() == [4, 0]
    np.testing.assert_array_equal(columns.values, BATCH.values)
    assert columns.offsets.tolist() == [0, 299_999]
    assert columns.counts is not None
    assert columns.counts.tolist() == [1, 300]


def test_rows_of_an_older_version_are_single_samples_of_their_slot_s_begin() -> None:
    columns = PackedSamples(LAYOUT, 2, 0, OLDER_BODY).unpack(METRICS)
    assert columns.slots.tolist() == [-1, 258]
    np.testing.assert_array_equal(columns.values, BATCH.values)
    assert (columns.offsets.tolist(), columns.counts) == ([0, 0], None)


def test_no_samples_are_packed_as_well() -> None:
    columns = pack(make_batch([]), np.array([], dtype=np.int64), LAYOUT).unpack(METRICS)
    assert columns.values.shape == (0, 2)


def test_values_are_found_by_the_names_of_the_layout(packed: PackedSamples) -> None:
    values = packed.unpack(("mem_used_pct", "load_average", "cpu_user_pct")).values
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [[2.0, np.nan, 1.5], [0.5, np.nan, np.nan]])


@pytest.mark.parametrize("at", range(len(BODY)))
def test_every_changed_byte_is_damage(packed: PackedSamples, at: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1
    assert not packed._replace(body=bytes(changed)).is_sound()


def test_a_shorter_body_another_count_and_another_layout_are_damage(packed: PackedSamples) -> None:
    assert not packed._replace(body=BODY[:-1]).is_sound()
    assert not packed._replace(samples=1).is_sound()
    assert not packed._replace(layout=LAYOUT._replace(id=4)).is_sound()
    assert not packed._replace(crc=packed.crc ^ 1).is_sound()
