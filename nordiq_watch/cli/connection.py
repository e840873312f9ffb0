"""How the command line finds its daemon and the key for it."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from nordiq_watch.client.client import Client
from nordiq_watch.client.http import ANSWER_SECONDS
from nordiq_watch.config.addresses import url_of
from nordiq_watch.config.environment import API_KEY_VARIABLE, URL_VARIABLE, Remote, find_remote
from nordiq_watch.config.load import find_settings
from nordiq_watch.config.schema import AuthSettings, Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ClientError
from nordiq_watch.security.keys import ApiKey, find_key


def connect(
    url: str | None = None,
    *,
    key_file: Path | None = None,
    config: Path | None = None,
    remote: Remote | None = None,
    answer_seconds: float = ANSWER_SECONDS,
    retries: int = 0,
) -> Client:
    """A client for the daemon that the options, the environment and the config file name, in this order.

    The key in the environment wins over the key files. The config is only read where it is needed.
    ConfigError for a config or key file that cannot be used, ClientError for such an address.
    """
    remote = find_remote() if remote is None else remote
    settings = functools.cache(lambda: find_settings(config))
    if remote.api_key is not None:
        key = find_key(Settings(config=Config(), root=Path(), api_key=remote.api_key))
    elif key_file is not None:
        key = _read_named(key_file)
    else:
        key = find_key(msgspec.structs.replace(settings(), api_key=None))
    return Client(
        url or remote.url or address_of(settings().config),
        key=None if key is None else key.value,
        key_source="" if key is None else key.source,
        retries=retries,
        answer_seconds=answer_seconds,
    )


def address_of(config: Config) -> str:
    """Where a daemon with this config is reached from its own machine. ClientError where that cannot be known."""
    server = config.server
    if server.port == 0:
        raise ClientError(f"server.port is 0, any free one: give --url or {URL_VARIABLE} (the daemon's log says which)")
    return url_of(server.host, server.port)


def _read_named(key_file: Path) -> ApiKey:
    if not key_file.exists():
        raise ClientError(f"{key_file}: there is no such key file")
    key = find_key(Settings(config=Config(auth=AuthSettings(key_file=key_file.name)), root=key_file.parent))
    if key is None:
        raise ClientError(f"{key_file}: holds only hashes of keys; put a key itself into {API_KEY_VARIABLE}")
    return key
