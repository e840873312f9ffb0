"""What a model is, apart from its weights: all that rebuilds the network, its inputs and its output scaling.

`artifact.manifest` reads and writes it as a model directory's `config.json`; `network` builds from it; `training`
makes it from a trained network. Names follow pytorch-forecasting, whose `TemporalFusionTransformer` the weights are.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

FORMAT_VERSION = 1
EXTRAS_FORMAT_VERSION = 2
"""Of a model with `extras`: a program that knows version 1 alone refuses it instead of serving its network only."""
MODEL_TYPE = "TemporalFusionTransformer"

PositiveInt = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(gt=0.0, lt=1.0)]
Transformation = Literal["relu", "softplus", "log", "log1p", "logit", "count", "sqrt"]


class CategoricalEncoder(Struct, frozen=True, kw_only=True):
    """Label → code. `classes[code]` is the label; a label that is not in it gets `unknown_code`.

    `unknown_code` is None where the network has no class for the unknown: a server with such a label is not forecast.
    """

    classes: tuple[str, ...]
    unknown_code: int | None = None


class RealScaler(Struct, frozen=True, kw_only=True):
    """A real input enters the network as (x - center) / scale."""

    center: float = 0.0
    scale: float = 1.0


class CenterScale(Struct, frozen=True, array_like=True):
    center: float
    scale: float


class TargetNormalizer(Struct, frozen=True, kw_only=True):
    """How a target is scaled on its way in and unscaled on its way out.

    encoder: center and scale are measured on each encoder itself (pytorch-forecasting's EncoderNormalizer).
    group:   one center and scale per server, `missing` for a server that is not in the table (GroupNormalizer).
    fixed:   one center and scale for all, `missing` (TorchNormalizer).

    In:  transformation, then (y - center) / scale.  Out: y * scale + center, then the transformation's inverse.
    `center_length` and `scale_length` are how many of the encoder's newest slots are measured; None = all of them.
    `groups` scales the input. `output_groups`, where given, unscales the output: pytorch-forecasting looks the two up
    with different codes when its group encoder has add_nan, and a network trained that way needs the same mistake.
    """

    kind: Literal["encoder", "group", "fixed"]
    transformation: Transformation | None = None
    # encoder
    method: Literal["standard", "robust", "identity"] = "standard"
    center: bool = True
    center_length: PositiveInt | None = None
    scale_length: PositiveInt | None = None
    # group and fixed
    groups: dict[str, CenterScale] = {}
    output_groups: dict[str, CenterScale] | None = None
    missing: CenterScale | None = None


class FleetCalendar(Struct, frozen=True, kw_only=True):
    """The days of the people whose load this is: their time zone, an IANA name, and their holidays in it."""

    zone: str = "UTC"
    holidays: tuple[date, ...] = ()


class NetworkSpec(Struct, frozen=True, kw_only=True):
    """The hyperparameters that fix every tensor's name and shape, as pytorch-forecasting names them."""

    hidden_size: PositiveInt
    lstm_layers: PositiveInt
    attention_head_size: PositiveInt
    hidden_continuous_size: PositiveInt
    hidden_continuous_sizes: dict[str, PositiveInt] = {}
    output_size: tuple[PositiveInt, ...]
    embedding_sizes: dict[str, tuple[PositiveInt, PositiveInt]] = {}
    embedding_paddings: tuple[str, ...] = ()
    static_categoricals: tuple[str, ...] = ()
    static_reals: tuple[str, ...] = ()
    time_varying_categoricals_encoder: tuple[str, ...] = ()
    time_varying_categoricals_decoder: tuple[str, ...] = ()
    time_varying_reals_encoder: tuple[str, ...] = ()
    time_varying_reals_decoder: tuple[str, ...] = ()
    x_reals: tuple[str, ...]
    x_categoricals: tuple[str, ...] = ()
    share_single_variable_networks: bool = False
    causal_attention: bool = True


class Extras(Struct, frozen=True, kw_only=True):
    """What forecasts beside the network: the further members of a blend and its calibration (`network.terms.blend`).

    members: names of the further members, in the order of the blend's rows after the network's. slots: how many of the
    encoder's newest slots they read. calibrated: whether the file holds a table of calibration factors.
    """

    file: Literal["extras.safetensors"] = "extras.safetensors"
    members: tuple[str, ...] = ()
    slots: PositiveInt
    calibrated: bool = False


class ModelSpec(Struct, frozen=True, kw_only=True):
    """A model directory's `config.json`, whole.

    metrics: what the model reads, in the order of `targets` first. server_name and profile, status and the calendar
    (see `network.calendar`) are inputs too where the network's lists name them. calendar: what the calendar inputs are
    computed with. format_version: EXTRAS_FORMAT_VERSION with extras, FORMAT_VERSION without.
    """

    format_version: int
    model_type: str
    framework: dict[str, str]
    created_at: str
    interval_seconds: PositiveInt
    max_encoder_length: PositiveInt
    min_encoder_length: PositiveInt | None = None
    max_prediction_length: PositiveInt
    quantiles: tuple[Probability, ...]
    metrics: tuple[str, ...]
    targets: tuple[str, ...]
    network: NetworkSpec
    categorical_encoders: dict[str, CategoricalEncoder] = {}
    real_scalers: dict[str, RealScaler] = {}
    target_normalizers: dict[str, TargetNormalizer]
    fill_values: dict[str, float] = {}
    calendar: FleetCalendar = FleetCalendar()
    extras: Extras | None = None
    training_config: dict[str, Any] = {}


class ServerMapping(Struct, frozen=True, kw_only=True):
    """`server_mapping.json`: the servers that the model was trained on."""

    name_to_id: dict[str, int]
    id_to_name: dict[str, str]
    version: str
    total_servers: int


class TargetErrors(Struct, frozen=True, kw_only=True):
    """One target's mean absolute errors over windows and steps, in the metric's unit; None where there is none.

    model: of the version's p50; last_value: of the value before the window; newest: of the newest version's p50.
    """

    model: float | None
    last_value: float | None
    newest: float | None = None


class Comparison(Struct, frozen=True, kw_only=True):
    """A version beside last value and beside the newest version of its time, on the same validation windows.

    beside_last_value and beside_newest: the version's error relative to theirs, the mean over the targets
    (`training.gate.relative_error`); below 1 is better, None where nothing can be compared. passed: whether it is good
    enough to be dropped; one that is not was dropped with --drop-anyway. newest: the name of that version, None where
    there was none; newest_skipped: why it was not compared.
    """

    windows: int
    beside_last_value: float | None
    passed: bool
    newest: str | None = None
    beside_newest: float | None = None
    newest_skipped: str | None = None
    targets: dict[str, TargetErrors] = {}


class TrainingInfo(Struct, frozen=True, kw_only=True):
    """`training_info.json`, optional: how the model came to be, and the SHA-256 of each of its files."""

    epochs: int | None = None
    training_time: float | None = None
    servers_trained: int | None = None
    validation: dict[str, Any] = {}
    comparison: Comparison | None = None
    sha256: dict[str, str] = {}
