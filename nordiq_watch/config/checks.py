"""Checks between settings that no single type can express."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import msgspec

from nordiq_watch.api.predictions import ServerForecast
from nordiq_watch.config.schema import Config
from nordiq_watch.errors import ConfigError
from nordiq_watch.labels import LABEL_MARK, split
from nordiq_watch.zones import UnknownZone, find_zone

_PREFIX = re.compile(r"((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?")
_RECORD_FIELDS = {"timestamp", "server_name", "status", "profile", "labels"}
_ANSWER_FIELDS = {field.encode_name for field in msgspec.structs.fields(ServerForecast)}


def check_consistency(config: Config, path: Path) -> None:
    _check_thresholds(config, path)
    _check_proxy(config, path)
    _check_prefix(config, path)
    _check_zones(config, path)
    _check_labels(config, path)
    twice = {name for name in config.metrics if config.metrics.count(name) > 1}
    if twice:
        raise ConfigError(f"{path}: metrics names {', '.join(sorted(twice))} twice; name each once")
    feeders = config.feeders
    mapped = {
        name
        for feeder in (feeders.prometheus, feeders.telegraf, feeders.collectd, feeders.otlp, feeders.influx)
        for name in feeder.metrics
    }
    if mapped - set(config.metrics):
        raise ConfigError(
            f"{path}: feeders has a rule for {', '.join(sorted(mapped - set(config.metrics)))}, which is not in metrics"
        )
    unknown = sorted(config.window.aggregate.keys() - set(config.metrics))
    if unknown:
        raise ConfigError(f"{path}: window.aggregate names {', '.join(unknown)}, which is not in metrics")
    for what, fields in (("a record", _RECORD_FIELDS), ("an answer", _ANSWER_FIELDS)):
        if reserved := fields.intersection(config.metrics):
            raise ConfigError(
                f"{path}: metrics names {', '.join(sorted(reserved))}, which {what} uses for something else"
            )
    if config.training.max_encoder_length > config.window.length:
        raise ConfigError(
            f"{path}: training.max_encoder_length is {config.training.max_encoder_length}, but window.length is "
            f"{config.window.length}: such a model could never be loaded. Make the window as long as the encoder."
        )


def _check_proxy(config: Config, path: Path) -> None:
    proxy = config.server.trusted_proxy
    try:
        if proxy is not None:
            ipaddress.ip_address(proxy)
    except ValueError:
        raise ConfigError(f"{path}: server.trusted_proxy is {proxy!r}, which is no IP address") from None


def _check_prefix(config: Config, path: Path) -> None:
    prefix = config.server.url_prefix
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"{path}: server.url_prefix is {prefix!r}; write a path with a slash in front and none at its end, of "
            "letters, digits and -, _, ., ~, such as /nordiq; or nothing"
        )


def _check_zones(config: Config, path: Path) -> None:
    zones = {"training.calendar.zone": config.training.calendar.zone, "window.naive_zone": config.window.naive_zone}
    for key, zone in zones.items():
        try:
            find_zone(zone)
        except UnknownZone as error:
            raise ConfigError(f"{path}: {key} is {error}") from None


def _check_labels(config: Config, path: Path) -> None:
    named = {"risk.labels": list(config.risk.labels)}
    named["window.ended"] = [one.removeprefix(LABEL_MARK) for one in config.window.ended if one.startswith(LABEL_MARK)]
    for key, labels in named.items():
        for label in labels:
            try:
                split(label)
            except ValueError as error:
                raise ConfigError(f"{path}: {key} has {error}") from None


def _check_thresholds(config: Config, path: Path) -> None:
    tables = {"thresholds": config.risk.thresholds}
    tables |= {f"profiles.{profile}": table for profile, table in config.risk.profiles.items()}
    tables |= {f"labels.{label}": table for label, table in config.risk.labels.items()}
    for place, table in tables.items():
        for metric, threshold in table.items():
            numbers = [] if threshold is None else list(msgspec.structs.astuple(threshold))
            if numbers not in (sorted(set(numbers)), sorted(set(numbers), reverse=True)):
                raise ConfigError(
                    f"{path}: risk.{place}.{metric} is {', '.join(f'{number:g}' for number in numbers)}; calm, "
                    "degraded, warning and critical must each be above the one before (or below, where low is bad)"
                )
