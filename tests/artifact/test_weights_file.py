from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from support.specs import weights_bytes

from nordiq_watch.artifact import weights_file
from nordiq_watch.artifact.weights_file import BrokenWeights, check_length, read_weights


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return path


def test_reads_what_the_library_wrote(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "a": np.arange(12, dtype=np.float32).reshape(3, 4),
        "b": np.ones((2,), dtype=np.float64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    content = safetensors.numpy.save(arrays, metadata={"made_by": "test"})
    weights = read_weights(write(tmp_path, content))
    assert weights.sha256 == hashlib.sha256(content).hexdigest()
    assert weights.size_bytes == len(content)
    assert set(weights.tensors) == set(arrays)
    for name, array in arrays.items():
        tensor = weights.tensors[name]
        read = np.frombuffer(tensor.data, dtype=array.dtype).reshape(tensor.shape)
        np.testing.assert_array_equal(read, array)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_no_prefix_of_a_file_is_taken_for_the_whole(share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = weights_bytes()
    path = write(tmp_path_factory.mktemp("prefix"), content[: int(share * len(content))])
    with pytest.raises(BrokenWeights):
        check_length(path)
    with pytest.raises(BrokenWeights):
        read_weights(path)


def test_one_byte_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenWeights, match="its header says"):
        check_length(write(tmp_path, weights_bytes() + b"\0"))


def raw_file(header: object, data: bytes = b"") -> bytes:
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(body).to_bytes(8, "little") + body + data


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "too short"),
        (b"PK\x03\x04 this is a zip, not safetensors", "not a safetensors file"),
        (raw_file(b"[1, 2]"), "cannot be read"),
        (raw_file(b"\xff\xfe\xff\xfe"), "cannot be read"),
        (raw_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4), "do not fit its shape"),
        (raw_file({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8), "do not fit its shape"),
        (raw_file({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}), "do not fit its shape"),
        (raw_file({"a": {"dtype": "PYOBJ", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 8), "unsupported type"),
    ],
)
def test_broken_headers_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(BrokenWeights, match=says):
        read_weights(write(tmp_path, content))


def test_a_huge_header_costs_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path, (2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(BrokenWeights, match="header length"):
        read_weights(path)


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(weights_bytes())
    link = tmp_path / "link.safetensors"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        read_weights(link)
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        read_weights(pipe)


def test_the_hash_is_of_all_chunks_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_file, "_CHUNK_BYTES", 7)
    content = weights_bytes()
    assert read_weights(write(tmp_path, content)).sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, weights_bytes())
    take_memory = weights_file._take_memory

    def cut_and_take(size: int) -> memoryview:
        os.truncate(path, path.stat().st_size - 8)
        return take_memory(size)

    monkeypatch.setattr(weights_file, "_take_memory", cut_and_take)
    with pytest.raises(BrokenWeights, match="became shorter while it was read"):
        read_weights(path)


def test_without_memory_for_a_thread_it_is_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MemoryError, match="can't start new thread"):
        read_weights(write(tmp_path, weights_bytes()))
