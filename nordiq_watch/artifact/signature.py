r"""Signed model directories: who vouches for the bytes, under the very name that they lie under.

    signature.json   {"sums": "nordiq-watch model NAME\n<sha256>  config.json\n…", "public_key": …, "signature": …}

What is signed (ed25519, RFC 8032) is the text in `sums`. The name is in it because a signed directory that is copied to
a newer name would otherwise bring an old model back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nordiq_watch.artifact.files import open_regular, read_bounded
from nordiq_watch.artifact.layout import INFO_FILE, SIGNATURE_FILE, required_files
from nordiq_watch.artifact.manifest import read_spec
from nordiq_watch.artifact.reader import CheckTrust, UntrustedModel
from nordiq_watch.atomic_file import create_file, replace_file
from nordiq_watch.errors import ConfigError

_LONGEST_SIGNATURE = 64 * 1024
_CHUNK_BYTES = 2**20
_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Signature(msgspec.Struct, frozen=True):
    """signature.json; the key and the signature are in base64."""

    sums: str
    public_key: str
    signature: str


_decoder = msgspec.json.Decoder(Signature)


class TrustedKeys:
    """Checks that one of these keys (ed25519, base64) signed the files that were read."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = frozenset(keys)

    def check(self, directory: Path, hashes: Mapping[str, str]) -> None:
        """Raises UntrustedModel unless a trusted key signed exactly these files of this version, and OSError."""
        try:
            signed = _decoder.decode(read_bounded(directory / SIGNATURE_FILE, _LONGEST_SIGNATURE))
        except FileNotFoundError:
            raise UntrustedModel(f"it is not signed: there is no {SIGNATURE_FILE}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UntrustedModel(f"{SIGNATURE_FILE} is not as documented: {error}") from None
        if signed.public_key not in self._keys:
            raise UntrustedModel(
                f"it is signed by {signed.public_key[:12]!r}…, which models.trusted_keys does not have"
            )
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed.public_key, validate=True))
            key.verify(base64.b64decode(signed.signature, validate=True), signed.sums.encode())
        except (InvalidSignature, binascii.Error, ValueError):
            raise UntrustedModel(f"the signature in {SIGNATURE_FILE} is not by that key") from None
        if signed.sums != list_sums(directory.name, hashes):
            raise UntrustedModel(f"what was signed is not what is there: files or name differ from {SIGNATURE_FILE}")


def trust_in(keys: Sequence[str]) -> CheckTrust | None:
    """The check for `read_model`; None if no key is configured: every account that can write there is then trusted."""
    return TrustedKeys(keys).check if keys else None


def list_sums(name: str, hashes: Mapping[str, str]) -> str:
    """The signed text: the version's name, and its files as `sha256sum` lists them, by name."""
    return f"nordiq-watch model {name}\n" + "".join(f"{hashes[file]}  {file}\n" for file in sorted(hashes))


def sign_model(directory: Path, key: Ed25519PrivateKey) -> None:
    """Writes signature.json into a finished model directory atomically.

    config.json says which files belong to it: BrokenManifest, UnknownFormat if it cannot. Raises OSError.
    """
    files = list(required_files(read_spec(directory)))
    if (directory / INFO_FILE).exists():
        files.append(INFO_FILE)
    sums = list_sums(directory.name, {name: _hash_file(directory / name) for name in files})
    content = Signature(sums, show_public(key), base64.b64encode(key.sign(sums.encode())).decode())
    replace_file(directory / SIGNATURE_FILE, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def show_public(key: Ed25519PrivateKey) -> str:
    """The public half, in the form models.trusted_keys expects."""
    return base64.b64encode(key.public_key().public_bytes(*_RAW)).decode()


def make_private_key(path: Path) -> Ed25519PrivateKey:
    """Makes a key in a new file that only its owner may read (PEM, PKCS 8). Raises FileExistsError, OSError."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    create_file(path, pem, mode=0o600)
    return key


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Reads a key from `make_private_key` or `openssl genpkey -algorithm ed25519`. Raises ConfigError, OSError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"{path}: is not a private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: is a private key, but not an ed25519 one")
    return key


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
