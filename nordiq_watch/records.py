"""Values that cross folders: frozen, without behaviour. Arrays in them are never written to after they were made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.api.enums import Role
from nordiq_watch.spec import TrainingInfo

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who showed a key, as far as that can be known: the key's id, and what it allows."""

    id: str
    role: Role


BodyLeftOut = Literal["not_allowed", "too_large", "no_room"]
"""Why a request reached the app without its body: its key may not send one there, it is too long, or there was no
memory for it."""

BODY_LEFT_OUT = "nordiq_watch.body_left_out"
"""The WSGI environment has the BodyLeftOut of a request under this name."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the head of a request is worth: so many bytes of body, 0 where it may have none; and whether it has a right
    key.
    """

    max_body_bytes: int
    is_known: bool


@dataclass(frozen=True, slots=True)
class Version:
    """One `tft_model_*` directory as a scan saw it.

    `fingerprint` differs as soon as the size, the modification time or the inode of any file in it differs.
    """

    name: str
    path: Path
    timestamp: str | None
    fingerprint: str
    size_bytes: int
    modified: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a directory is a complete model.

    proven: it carries the SHA-256 of its files: nothing must settle. unreadable: the machine failed, nobody knows.
    """

    complete: bool
    proven: bool = False
    unreadable: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model made an answer: the version's name, its generation, the SHA-256 of its weights."""

    name: str
    generation: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Validated samples of one request, as columns.

    servers: names of the servers in the batch, each once; profiles: one a server.
    rows (n,): index into servers. slots (n,): floor(timestamp / interval). statuses (n,): code in metrics.STATUSES.
    values (n, metrics): float32 in the metric's unit, NaN where not measured.
    """

    servers: tuple[str, ...]
    profiles: tuple[str | None, ...]
    rows: IntArray
    slots: IntArray
    statuses: CodeArray
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where a snapshot's cells stand in its window, and when each was written, for who keeps a copy and adds the news.

    window: whose they are. rows (servers,): the server's row there, which is another one's only after its cells were
    cleared. changed (servers, slots): int32, the count at which a cell was written or cleared last, 0 for never; counts
    are of snapshots: up to `count`, what was written before this one.
    """

    window: object
    count: int
    rows: IntArray
    changed: NDArray[np.int32]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class WindowSnapshot:
    """A copy of the newest `slots` of every server; column -1 is `last_slot`, the newest slot of the whole fleet.

    values (servers, slots, metrics): float32 in the metric's unit, NaN where not measured.
    statuses (servers, slots): code in metrics.STATUSES.
    Slot s covers [s * interval_seconds, (s + 1) * interval_seconds) of Unix time.
    places: None unless a window that keeps track of changes made this; what `replace` makes of it has none.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    metrics: tuple[str, ...]
    interval_seconds: int
    last_slot: int
    values: FloatArray
    statuses: CodeArray
    places: Places | None = field(default=None, init=False)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one model says about every warm server of one snapshot.

    values (servers, targets, horizon, quantiles): in the metric's unit; NaN throughout where a server's target was
    never measured. Step k of the horizon is slot `origin_slot + 1 + k`.
    """

    servers: tuple[str, ...]
    targets: tuple[str, ...]
    quantiles: tuple[float, ...]
    values: FloatArray
    origin_slot: int
    interval_seconds: int
    model: ModelIdentity


@dataclass(frozen=True, slots=True)
class RawTensor:
    """One tensor of a safetensors file in memory; `data` is a view into the buffer that was read and hashed."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


@dataclass(frozen=True, slots=True)
class Prediction:
    """A network's output for the warm rows of a snapshot.

    rows (n,): index into snapshot.servers. values (n, targets, horizon, quantiles): in the metric's unit, NaN
    throughout where the server's target was never measured.
    """

    rows: IntArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Forecasting:
    """A forecast together with the snapshot that it was made from. whole: of all its servers, not of a sample."""

    snapshot: WindowSnapshot
    forecast: Forecast
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a reload and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReloadRecord:
    """What is known of one reload.

    trigger: watcher, api, startup, rollback or signal. requested: the version asked for, None = the latest.
    version: the one that was chosen. state: waiting, running or finished.
    outcome: loaded, unchanged, rejected, not_found or unpinned; None until finished.
    previous and current: the live versions before and after. Times are Unix seconds. drop: the id that lines of the log
    about this version have had since its directory was first seen. remarks: which checks were left out, and why.
    warnings: what the version does not do that the live one did.
    """

    id: int
    trigger: str
    requested: str | None
    state: str
    created_at: float
    version: str | None = None
    outcome: str | None = None
    reason: str | None = None
    previous: str | None = None
    current: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    stages: tuple[Stage, ...] = ()
    drop: str | None = None
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version on disk and what the daemon thinks of it.

    state: live, previous, available, incomplete, rejected or quarantined; reason: why it is not loadable.
    """

    version: Version
    state: str
    reason: str | None = None
    sha256: str | None = None
    generation: int | None = None
    training: TrainingInfo | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One server in trouble, or about to be.

    kind: risk (of its metrics) or silent (it stopped sending; of the server `*`: the whole fleet did). level: degraded,
    warning or critical. metric: the worst one, None for a silent server. risk_score: the newest one, None if it never
    had one. until: when a silent server counts as ended, and the alert with it.
    time_to_issue: seconds from the newest sample to the critical threshold, 0 if it is reached already, None if it is
    not in sight; time_to_issue_basis: what says so, now, p50 or p90.
    raised_at: when it became an alert; level_since: when it got its level; ended_at: None while it is active. Times are
    Unix seconds on the clock of the samples.
    """

    server_name: str
    kind: str
    level: str
    risk_score: float | None
    profile: str
    metric: str | None
    message: str
    time_to_issue: float | None
    time_to_issue_basis: str | None
    raised_at: float
    level_since: float
    highest_level: str
    ended_at: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What happened to an alert: raised, escalated, de_escalated or resolved. `alert` is as it is after that."""

    change: str
    previous_level: str
    alert: Alert
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What every server measured in one slot: values (servers, metrics), NaN where nothing."""

    servers: tuple[str, ...]
    metrics: tuple[str, ...]
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What one model's forecast, made at `origin_slot`, says of `due_slot`.

    values (servers, targets, 4): p10, p50, p90, and the newest measurement when it was made; float32.
    """

    model: str
    sha256: str
    origin_slot: int
    due_slot: int
    horizon_seconds: int
    interval_seconds: int
    servers: tuple[str, ...]
    targets: tuple[str, ...]
    values: FloatArray


@dataclass(frozen=True, slots=True)
class BookKey:
    """Whose accuracy it is: one version with these bytes, one metric, one horizon."""

    model: str
    sha256: str
    metric: str
    horizon_seconds: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over points that came due; divided by `points` they are means. quality.accuracy has the formulas."""

    points: int = 0
    absolute_error: float = 0.0
    pinball: float = 0.0
    covered: float = 0.0
    last_absolute_error: float = 0.0
    last_pinball: float = 0.0


@dataclass(frozen=True, slots=True)
class Book:
    """A tally, and between which slots (in Unix seconds of their beginning) its points lie."""

    key: BookKey
    tally: Tally
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One event of the daemon's log. time: as RFC 3339 in UTC. text: the logger, the event, and a traceback in lines of
    its own. time and level are None for the rest of a record whose beginning was not read.
    """

    time: str | None
    level: str | None
    text: str
