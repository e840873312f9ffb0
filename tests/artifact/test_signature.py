"""A signature vouches for the bytes that are loaded, all of them, under the name that they lie under."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.models import drop_model
from support.specs import weights_bytes, write_whole_directory_with_extras

from nordiq_watch.artifact.manifest import UnknownFormat
from nordiq_watch.artifact.reader import ModelFiles, UntrustedModel, read_model
from nordiq_watch.artifact.signature import (
    list_sums,
    make_private_key,
    read_private_key,
    show_public,
    sign_model,
    trust_in,
)
from nordiq_watch.errors import ConfigError

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


@pytest.fixture
def key(tmp_path: Path) -> Ed25519PrivateKey:
    return make_private_key(tmp_path / "signing.pem")


@pytest.fixture
def signed(tmp_path: Path, key: Ed25519PrivateKey) -> Path:
    directory = drop_model(tmp_path / "models", A)
    sign_model(directory, key)
    return directory


def read(directory: Path, *keys: Any) -> ModelFiles:
    return read_model(directory, trust_in([show_public(key) for key in keys]))


def test_what_a_trusted_key_signed_is_read(signed: Path, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    other = make_private_key(tmp_path / "other.pem")
    assert read(signed, other, key).weights.size_bytes > 0


def test_without_trusted_keys_nobody_asks(tmp_path: Path) -> None:
    assert trust_in(()) is None
    assert read_model(drop_model(tmp_path / "models", A), trust_in(())).weights.size_bytes > 0


def test_without_a_training_info_the_rest_is_signed(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    directory = drop_model(tmp_path / "models", A, hashes=False)
    sign_model(directory, key)
    assert read(directory, key).info is None
    (directory / "training_info.json").write_text("{}")
    with pytest.raises(UntrustedModel, match="what was signed is not what is there"):
        read(directory, key)


def test_an_unsigned_one_is_refused(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    with pytest.raises(UntrustedModel, match="not signed"):
        read(drop_model(tmp_path / "models", A), key)


def test_one_that_somebody_else_signed_is_refused(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(UntrustedModel, match=r"which models\.trusted_keys does not have"):
        read(signed, make_private_key(tmp_path / "other.pem"))


def test_the_extras_are_signed_too(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    directory = write_whole_directory_with_extras(tmp_path / "models")
    sign_model(directory, key)
    assert read(directory, key).extras is not None
    assert "  extras.safetensors\n" in json.loads((directory / "signature.json").read_text())["sums"]
    (directory / "training_info.json").write_text("{}")
    sign_model(directory, key)
    (directory / "extras.safetensors").write_bytes(weights_bytes(seed=8))
    with pytest.raises(UntrustedModel, match="what was signed is not what is there"):
        read(directory, key)


def test_extras_that_no_key_signed_are_not_served_by_naming_them(signed: Path, key: Ed25519PrivateKey) -> None:
    """A signed directory whose config.json then gets extras."""
    config = json.loads((signed / "config.json").read_text())
    named = config | {"format_version": 2, "extras": {"slots": 8}}
    (signed / "config.json").write_text(json.dumps(named))
    (signed / "extras.safetensors").write_bytes(weights_bytes())
    (signed / "training_info.json").unlink()
    with pytest.raises(UntrustedModel, match="what was signed is not what is there"):
        read(signed, key)


def test_a_format_that_is_not_known_cannot_be_signed(signed: Path, key: Ed25519PrivateKey) -> None:
    config = json.loads((signed / "config.json").read_text())
    (signed / "config.json").write_text(json.dumps(config | {"format_version": 3}))
    with pytest.raises(UnknownFormat, match="format_version 3"):
        sign_model(signed, key)


@pytest.mark.parametrize("file", ["server_mapping.json", "training_info.json"])
def test_a_file_that_was_changed_after_it_was_signed_is_refused(
    signed: Path, key: Ed25519PrivateKey, file: str
) -> None:
    content = json.loads((signed / file).read_text())
    content.pop("sha256", None)
    (signed / file).write_text(json.dumps(content))
    (signed / "training_info.json").write_text("{}")
    with pytest.raises(UntrustedModel, match="what was signed is not what is there"):
        read(signed, key)


def test_a_signed_version_under_a_newer_name_is_refused(signed: Path, key: Ed25519PrivateKey) -> None:
    with pytest.raises(UntrustedModel, match="files or name differ"):
        read(signed.rename(signed.parent / B), key)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("signature", "AAAA", "not by that key"),
        ("signature", "!", "not by that key"),
        ("sums", "other", "not by that key"),
        ("public_key", "AAAA", r"models\.trusted_keys does not have"),
        ("sums", 1, "not as documented"),
    ],
)
def test_a_signature_that_was_tampered_with_is_refused(
    signed: Path, key: Ed25519PrivateKey, field: str, value: int | str, says: str
) -> None:
    file = signed / "signature.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(UntrustedModel, match=says):
        read(signed, key)


def test_the_sums_are_those_of_sha256sum(signed: Path) -> None:
    sums = json.loads((signed / "signature.json").read_text())["sums"]
    listed = sums.partition("\n")[2]
    subprocess.run(["sha256sum", "--check", "--strict"], cwd=signed, input=listed.encode(), check=True)
    assert list_sums("tft_model_1", {"b": "2", "a": "1"}) == "nordiq-watch model tft_model_1\n1  a\n2  b\n"


def test_the_private_key_is_private_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    assert show_public(make_private_key(path)) == show_public(read_private_key(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        make_private_key(path)
    path.write_text("no key")
    with pytest.raises(ConfigError, match="not a private key"):
        read_private_key(path)
