"""The JSON files of a model directory, to and from the structures of `spec`. Data only: nothing in it can run."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from nordiq_watch.artifact.files import read_bounded
from nordiq_watch.artifact.foreign import explain_json
from nordiq_watch.artifact.layout import CONFIG_FILE, INFO_FILE, MAPPING_FILE
from nordiq_watch.spec import (
    EXTRAS_FORMAT_VERSION,
    FORMAT_VERSION,
    MODEL_TYPE,
    ModelSpec,
    ServerMapping,
    TrainingInfo,
)

S = TypeVar("S", bound=msgspec.Struct)


class BrokenManifest(ValueError):
    """A JSON file is not what it has to be; the text names the file, the key and what was found."""


class UnknownFormat(BrokenManifest):
    """The directory may be whole, but not in a format that this version of the program reads: waiting does not help."""


class _Format(msgspec.Struct):
    format_version: int
    model_type: str


_format_decoder = msgspec.json.Decoder(_Format)
_spec_decoder = msgspec.json.Decoder(ModelSpec)
_mapping_decoder = msgspec.json.Decoder(ServerMapping)
_info_decoder = msgspec.json.Decoder(TrainingInfo)


def encode(content: msgspec.Struct) -> bytes:
    """JSON for a model directory: indented, because people read it at night."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def read_spec(directory: Path) -> ModelSpec:
    """config.json of a model directory. Raises BrokenManifest, UnknownFormat, OSError."""
    return decode_spec(read_bounded(directory / CONFIG_FILE))


def decode_spec(content: bytes) -> ModelSpec:
    """The bytes of a config.json. The format is looked at first, so that a newer one is named as such."""
    header = _decode(_format_decoder, content, file_name=CONFIG_FILE)
    if header.format_version not in (FORMAT_VERSION, EXTRAS_FORMAT_VERSION):
        raise UnknownFormat(
            f"{CONFIG_FILE} has format_version {header.format_version}, this version reads {FORMAT_VERSION} and "
            f"{EXTRAS_FORMAT_VERSION}"
        )
    if header.model_type != MODEL_TYPE:
        raise UnknownFormat(f"{CONFIG_FILE} has model_type {header.model_type!r}, this version serves {MODEL_TYPE!r}")
    spec = _decode(_spec_decoder, content, file_name=CONFIG_FILE)
    check_format(spec)
    return spec


def check_format(spec: ModelSpec) -> None:
    """Raises BrokenManifest unless the format is that of a model with, or without, extras."""
    expected = FORMAT_VERSION if spec.extras is None else EXTRAS_FORMAT_VERSION
    if spec.format_version != expected:
        kind = "without extras" if spec.extras is None else "with extras"
        raise BrokenManifest(f"{CONFIG_FILE} has format_version {spec.format_version}, a model {kind} has {expected}")


def read_mapping(directory: Path) -> ServerMapping:
    """server_mapping.json of a model directory. Raises BrokenManifest, OSError."""
    return decode_mapping(read_bounded(directory / MAPPING_FILE))


def decode_mapping(content: bytes) -> ServerMapping:
    return _decode(_mapping_decoder, content, file_name=MAPPING_FILE)


def read_info(directory: Path) -> TrainingInfo | None:
    """training_info.json, or None where there is none. Raises BrokenManifest, OSError."""
    content = read_info_content(directory)
    return None if content is None else decode_info(content)


def read_info_content(directory: Path) -> bytes | None:
    """The bytes of training_info.json, or None where there is none. Raises OSError."""
    try:
        return read_bounded(directory / INFO_FILE)
    except FileNotFoundError:
        return None


def decode_info(content: bytes) -> TrainingInfo:
    return _decode(_info_decoder, content, file_name=INFO_FILE)


def _decode(decoder: msgspec.json.Decoder[S], content: bytes, *, file_name: str) -> S:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise BrokenManifest(f"{file_name} is not as documented: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        foreign = explain_json(content)
        if foreign is not None:
            raise UnknownFormat(f"{file_name} {foreign}") from None
        raise BrokenManifest(f"{file_name} is not whole JSON ({error})") from None
