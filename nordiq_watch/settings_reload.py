"""SIGHUP: what can change without a restart is read again, and the latest model is looked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from nordiq_watch.api.enums import ReloadTrigger
from nordiq_watch.config.changes import list_changes, needs_restart
from nordiq_watch.config.load import find_settings
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import NordiqError
from nordiq_watch.host.logs import configure_logging
from nordiq_watch.host.systemd import ServiceManager
from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.security.build import SecurityParts
from nordiq_watch.security.keys import KnownKey, ensure_keys
from nordiq_watch.security.rate_limits import limits_in_force

log = logging.getLogger(__name__)


class SettingsReload:
    """Applies keys, limits and log settings anew, all or none; names what only a restart applies. One call at a time.

    settings: those that the daemon started with. status: one line on the daemon's state, for systemd.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        security: SecurityParts,
        queue: ReloadQueue,
        manager: ServiceManager,
        status: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._applied = settings.config
        self._security = security
        self._queue = queue
        self._manager = manager
        self._status = status

    def __call__(self) -> None:
        """Reads and applies. Never raises: what cannot be used is logged and audited, and the old settings stay."""
        self._manager.reloading()
        try:
            self._queue.submit(LookAgain(trigger=ReloadTrigger.SIGNAL))
            self._reload()
        finally:
            self._manager.ready(self._status())

    def _reload(self) -> None:
        try:
            settings, keys = self._read()
            self._apply_logs(settings)
        except NordiqError as error:
            log.error("the configuration was not read again, the old one stays: %s", error)
            self._security.audit.write(action="SIGHUP", success=False, error=str(error))
            return
        new_keys, old_keys = self._security.keyring.replace(keys)  # nothing can fail any more
        limits = limits_in_force(settings.config.limits, other_machines=settings.other_machines)
        self._security.rate_limits.replace(limits)
        taken = [key for key in list_changes(self._applied, settings.config) if not needs_restart(key)]
        self._applied = settings.config
        self._report(settings, taken, keys_added=new_keys, keys_revoked=old_keys)

    def _read(self) -> tuple[Settings, Sequence[KnownKey]]:
        settings = msgspec.structs.replace(find_settings(self._settings.file), bound_host=self._settings.bound_host)
        return settings, ensure_keys(settings)

    def _apply_logs(self, settings: Settings) -> None:
        if settings.config.logs != self._applied.logs:
            configure_logging(msgspec.structs.replace(settings, config=self._with_log_changes(settings.config)))

    def _with_log_changes(self, new: Config) -> Config:
        """The new log settings, but for the directory: the audit and this log stay where they are until a restart."""
        return msgspec.structs.replace(new, logs=msgspec.structs.replace(new.logs, dir=self._settings.config.logs.dir))

    def _report(
        self, settings: Settings, taken: Sequence[str], *, keys_added: Sequence[str], keys_revoked: Sequence[str]
    ) -> None:
        waiting = [key for key in list_changes(self._settings.config, settings.config) if needs_restart(key)]
        if waiting:
            log.warning("changed in %s, but only a restart applies it: %s", settings.file, ", ".join(waiting))
        log.info("settings read again: the keys%s", "".join(f", {key}" for key in taken))
        self._security.audit.write(
            action="SIGHUP",
            success=True,
            taken=taken,
            waiting_for_restart=waiting,
            keys_added=keys_added,
            keys_revoked=keys_revoked,
        )
