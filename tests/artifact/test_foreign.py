from __future__ import annotations

import json
from pathlib import Path

import pytest

from nordiq_watch.artifact.foreign import GIT_LFS, explain_json, explain_weights

POINTER = GIT_LFS + b"v1\noid sha256:4d7a\nsize 12345\n"
TEXT = '{"a": 1}'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps({"mape": float("nan")}).encode(), "holds NaN"),
        (json.dumps({"a": [float("-inf")]}).encode(), "holds -Infinity"),
        (TEXT.encode("utf-8-sig"), "byte order mark (EF BB BF)"),
        (TEXT.encode("utf-16"), "is UTF-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "is UTF-16"),
        *((TEXT.encode(f"utf-16-{order}"), "is UTF-16") for order in ("le", "be")),
        *((TEXT.encode(f"utf-32-{order}"), "is UTF-32") for order in ("le", "be")),
        *((f"\ufeff{TEXT}".encode(f"utf-32-{order}"), "is UTF-32") for order in ("le", "be")),
        ("\n{}".encode("utf-16-le"), "is UTF-16"),
        (f'{{"größe": "{TEXT!r:.4}…'.encode("utf-16-be"), "is UTF-16"),
        (POINTER, "Git LFS pointer"),
        (b"<!DOCTYPE html><title>404</title>", "is a page of HTML or XML"),
        (b"<html>", "is a page of HTML or XML"),
        (b"\x1f\x8b\x08\x00\x00\x00", "is packed with gzip, not JSON"),
        (b"PK\x03\x04\x14\x00", "is a zip archive"),
    ],
)
def test_json_that_no_further_byte_mends_is_called_what_it_is(content: bytes, says: str) -> None:
    assert says in str(explain_json(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"a": Na',
        b'{"a": NaN',
        b'{"a": "NaN"',
        b"\x00\x00",
        b"\x00" * 64,
        b"{" + b"\x00" * 63,
        b"<",
        b"[" * 100_000,
        b'{"a": 1}}',
    ],
)
def test_what_may_be_unfinished_is_not_judged(content: bytes) -> None:
    assert explain_json(content) is None


@pytest.mark.parametrize(
    ("beginning", "says"),
    [
        (POINTER[:8], "Git LFS pointer"),
        (b"PK\x03\x04\x00\x00\x08\x08", "a zip archive, as torch.save writes"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF", "a Python pickle"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"GGUF\x03\x00\x00\x00", "a GGUF file"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "packed with gzip"),
        (b"<?xml ve", "a page of HTML or XML"),
        (b"<!DOCTYP", "a page of HTML or XML"),
    ],
)
def test_weights_of_another_format_are_called_by_its_name(beginning: bytes, says: str) -> None:
    assert says in str(explain_weights(beginning))


@pytest.mark.parametrize("length", [2, 128, 32 * 2**20])
def test_a_header_of_any_possible_length_is_no_other_format(length: int) -> None:
    assert explain_weights(length.to_bytes(8, "little")) is None


def test_what_torch_save_writes_is_called_a_zip_archive(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert "zip archive" in str(explain_weights((tmp_path / "model.safetensors").read_bytes()[:8]))
