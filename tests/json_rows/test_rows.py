"""What C++ writes is what Python writes, to the byte, and what orjson writes of the same numbers."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.json_rows import native
from nordiq_watch.json_rows.native import load_writer, write_natively
from nordiq_watch.json_rows.plain import write_plainly
from nordiq_watch.json_rows.steps import Comma, Literal, Number, NumberList, Step, When, Words

BUILT = os.environ.get("NORDIQ_TEST_WRITER")
NUMPY = orjson.OPT_SERIALIZE_NUMPY
SOURCE = native.DIRECTORY / "rows.cpp"
FLAGS = ("-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-O1", "-fno-math-errno")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Built from the sources as they are now, or the one that the environment names."""
    if BUILT is not None:
        library = load_writer(Path(BUILT))
        assert library is not None
        return library
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    place = tmp_path_factory.mktemp("writer")
    subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(place / "_native.so")], check=True)
    library = load_writer(place)
    assert library is not None
    return library


def both(library: ctypes.CDLL, steps: list[Step], rows: int) -> bytes:
    fast, plain = write_natively(library, steps, rows), write_plainly(steps, rows)
    assert fast.text == plain.text
    assert fast.ends.tolist() == plain.ends.tolist()
    return fast.text


def as_list(library: ctypes.CDLL, values: Any) -> bytes:
    return both(library, [NumberList(np.asarray(values, dtype=np.float32)[None])], 1)


def test_every_number_of_four_decimals(library: ctypes.CDLL) -> None:
    values = (np.arange(1_100 * 1_000) * np.float32(0.0013)).round(4).astype(np.float32)
    for signed in (values, -values):
        (written,) = [write_natively(library, [NumberList(signed[None])], 1).text]
        assert written == orjson.dumps(signed, option=NUMPY)


def test_numbers_at_the_edges(library: ctypes.CDLL) -> None:
    edges = [0.0, -0.0, 1e-4, 1e-5, 1e-6, 1e-7, 9.99995, 1023.9999, 1024, 1024.5, 16777216, 1e9, 1e12, 1e-45]
    unknown = [np.nan, np.inf, -np.inf]
    values = np.array([*edges, *unknown], dtype=np.float32)
    assert as_list(library, values) == orjson.dumps(values, option=NUMPY)


@given(st.lists(st.floats(width=32, min_value=-(2.0**40), max_value=2.0**40), max_size=20))
def test_any_float(library: ctypes.CDLL, values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    assert as_list(library, array) == orjson.dumps(array, option=NUMPY)


@given(st.lists(st.floats(min_value=-1e12, max_value=1e12), min_size=1, max_size=20))
def test_any_double(library: ctypes.CDLL, values: list[float]) -> None:
    array = np.array(values)
    written = both(library, [Comma(), Number(array)], len(array))
    assert b"[%b]" % written == orjson.dumps(array, option=NUMPY)


def test_a_row_has_what_its_steps_say(library: ctypes.CDLL) -> None:
    known = np.array([True, False, True])
    values = np.array([1.5, 2.0, np.nan])
    inner: list[Step] = [Comma(), Literal(b'"a":'), Number(values)]
    table = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    steps: list[Step] = [
        *(Comma(), Words([b'"x"', b'"yy"', b'""']), Literal(b":{")),
        *(When(known, [*inner, When(~np.isnan(values), [Comma(), Literal(b'"b":1')])]), Comma(), Literal(b'"c":')),
        *(NumberList(table), Comma(), Literal(b'"d":'), Words([b"null", b'"w"'], np.array([1, 1, 0])), Literal(b"}")),
    ]
    written = orjson.loads(b"{%b}" % both(library, steps, 3))
    assert written == {
        "x": {"a": 1.5, "b": 1, "c": [0, 2], "d": "w"},
        "yy": {"c": [4, 6], "d": "w"},
        "": {"a": None, "c": [8, 10], "d": None},
    }


def test_no_row_is_nothing(library: ctypes.CDLL) -> None:
    assert both(library, [Literal(b"x"), Words([]), Number(np.empty(0))], 0) == b""


@pytest.mark.parametrize(
    "step",
    [
        Number(np.zeros(3)),
        Number(np.zeros(2, dtype=np.int64)),  # type: ignore[arg-type]
        NumberList(np.zeros(2, dtype=np.float32)),
        NumberList(np.zeros((2, 2))),  # type: ignore[arg-type]
        When(np.zeros(1, dtype=np.bool_), []),
        Words([b"a"], np.array([0, 1])),
        Words([b"a"]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(library: ctypes.CDLL, step: Step) -> None:
    with pytest.raises(ValueError, match=r"cannot be written as 2 rows|a row has no word"):
        write_natively(library, [step], 2)


def test_without_a_compiled_writer_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert load_writer(tmp_path) is None
    assert "no native writer is built" in caplog.text


def test_a_writer_that_cannot_be_loaded_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "_native.so").write_bytes(b"not for this machine")
    assert load_writer(tmp_path) is None
    assert "the native writer cannot be loaded" in caplog.text


def test_a_writer_of_other_sources_is_done_without(
    tmp_path: Path, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "_native.so").symlink_to(library._name)
    monkeypatch.setattr(native, "_VERSION", 0)
    assert load_writer(tmp_path) is None
    assert "it was built from another version of json_rows" in caplog.text
