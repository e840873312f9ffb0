"""Recognises content that waiting cannot mend: another format than the documented one, not an unfinished file.

A file that is still being written is waited for. One of these is refused at once, in words that say what it is.
"""

from __future__ import annotations

import json

GIT_LFS = b"version https://git-lfs.github.com/spec/"

_BINARY_FORMATS = {
    b"PK\x03\x04": "a zip archive, as torch.save writes",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "packed with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
}
_MARKUP = ("<!doctype", "<html", "<?xml", "<error")
"""Beginnings of pages that a server or a store of objects answers with instead of the file."""
_PAGE = "a page of HTML or XML, such as one that tells an error"
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "begins with a byte order mark (EF BB BF): save it as UTF-8 without one",
}
_ENCODINGS = {"utf-16": 2, "utf-32": 4}
"""By the beginning of Python's name, the bytes of an ASCII character."""
_AS_UTF_8 = "is {}: save it as UTF-8"
_POINTER = "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"


def explain_json(content: bytes) -> str | None:
    """Why this is not, and will not become, JSON as the standard has it (RFC 8259); None if it may just be unfinished.

    content: bytes that a strict reader refuses.
    """
    if content.startswith(GIT_LFS):
        return _POINTER
    for mark, reason in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return reason
    if encoding := _find_wide_encoding(content):
        return _AS_UTF_8.format(encoding)
    if (other := _find_format(content)) is not None:
        return f"is {other}, not JSON"
    constants: list[str] = []
    try:
        json.loads(content, parse_constant=constants.append)
    except (ValueError, RecursionError):
        return None
    if not constants:
        return None
    return f"holds {constants[0]}, which Python writes and JSON does not have: write null, or leave the key out"


def _find_wide_encoding(content: bytes) -> str | None:
    """`UTF-16` or `UTF-32`, with a byte order mark or without one; None for what is neither, and for zeros, which a
    file that is still being written may hold.
    """
    encoding = json.detect_encoding(content)
    width = next((width for name, width in _ENCODINGS.items() if encoding.startswith(name)), 0)
    if not width:
        return None
    beginning = content[: 4 * width].decode(encoding, "ignore").lstrip("\ufeff")
    is_text = bool(beginning) and all(" " <= character <= "~" or character in "\t\r\n" for character in beginning[:2])
    return encoding[:6].upper() if is_text and len(content) >= 2 * width else None


def explain_weights(beginning: bytes) -> str | None:
    """What a file is whose first bytes (at least 8) are these, if it is no safetensors file; None if it may be one."""
    if GIT_LFS.startswith(beginning[: len(GIT_LFS)]) and len(beginning) >= 8:
        return _POINTER
    found = _find_format(beginning)
    return None if found is None else f"is {found}, not a safetensors file: write it with safetensors.torch.save_file"


def _find_format(beginning: bytes) -> str | None:
    """The name of a format that files begin like this in."""
    for magic, name in _BINARY_FORMATS.items():
        if beginning.startswith(magic):
            return name
    text = beginning[:16].decode("ascii", "replace").lower()
    return _PAGE if any(text.startswith(mark[: len(text)]) for mark in _MARKUP if len(text) >= len("<html")) else None
