"""Where requests come from: a trace file or a generator, and the transformations applied to it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from sim.spec.arrivals import Arrivals, GammaArrivals, PoissonArrivals, RateProfile
from sim.spec.strict import STRICT
from sim.spec.traffic import ClientSpec, ConstantLengths, EmpiricalLengths, GeneratorSpec, Lengths, LognormalLengths

__all__ = [
    "Arrivals", "ClientSpec", "ConstantLengths", "EmpiricalLengths", "GammaArrivals", "GeneratorSpec", "Lengths",
    "LognormalLengths", "PoissonArrivals", "RateProfile", "Transform", "WorkloadSpec",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Dequantise:
    """Spreads the arrivals that share a clock tick uniformly over that tick."""

    kind: Literal["dequantise"] = "dequantise"
    tick_s: float | None = Field(default=None, gt=0)
    """None takes the median distance between different arrival times."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stretch:
    """Repeats the trace along a rate profile for ``duration_s``: a week from an hour.

    In the profile's bin the rate is the trace's mean rate times the bin's multiplier.
    """

    kind: Literal["stretch"] = "stretch"
    duration_s: float = Field(gt=0)
    """Length of the trace that is made."""
    profile: RateProfile
    """Rates over time, as multiples of the trace's mean rate."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScaleContext:
    """From ``from_s`` on every prompt is ``factor`` times as long (a feature that sends more context)."""

    kind: Literal["scale_context"] = "scale_context"
    factor: float = Field(gt=0)
    """Prompt tokens after over before."""
    from_s: float = Field(default=0.0, ge=0)
    """When it begins, s from the start of the trace."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Prompts grow to so many tokens at most; None = without a limit."""
    routes: tuple[str, ...] = ()
    """Only these routes; empty means all."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mix:
    """Gives every request (every session as a whole) a label by chance: ``shares`` of value -> weight."""

    kind: Literal["mix"] = "mix"
    label: Literal["route", "feature", "tenant"]
    """The column that is dealt anew."""
    shares: dict[str, float] = Field(min_length=1, json_schema_extra={"legal": "each >= 0, one above 0"})
    """Value -> its weight, at least 0; they are scaled to add up to 1."""

    @model_validator(mode="after")
    def _check(self) -> Mix:
        if min(self.shares.values()) < 0 or sum(self.shares.values()) <= 0:
            raise ValueError(f"shares must be at least 0 with a sum above 0, but got {self.shares}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adapters:
    """Gives every request (every session as a whole) a LoRA adapter by chance; the i-th most popular of ``count`` is asked
    for in proportion to i^-exponent (Zipf)."""

    kind: Literal["adapters"] = "adapters"
    count: int = Field(ge=1, le=100_000)
    """Adapters that are asked for."""
    exponent: float = Field(default=1.0, ge=0, le=5)
    """How skewed their popularity is; 0 = all alike. 1, Zipf's law, is an assumption."""
    base_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the requests that ask for the base model; the default, none, is an assumption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Filter:
    """Keeps the requests whose tokens and labels are within."""

    kind: Literal["filter"] = "filter"
    min_input_tokens: int = Field(default=1, ge=1)
    """Shorter prompts are left out."""
    max_input_tokens: int | None = Field(default=None, ge=1)
    """Longer prompts are left out; None = no limit."""
    min_output_tokens: int = Field(default=1, ge=1)
    """Requests with shorter answers are left out."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Requests with longer answers are left out; None = no limit."""
    routes: tuple[str, ...] = ()
    """Only requests of these routes; empty = all."""
    features: tuple[str, ...] = ()
    """Only requests of these features; empty = all."""
    tenants: tuple[str, ...] = ()
    """Only requests of these tenants; empty = all."""


Transform = Annotated[Dequantise | Stretch | ScaleContext | Mix | Adapters | Filter, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WorkloadSpec:
    """One source (``path``, else the packaged trace ``packaged``, else ``generator``, else ``fetch``) and what is done
    to it, in this order: window (``start_s``, ``duration_s``), ``transforms``, ``rate_scale``
    (or ``rate_per_s``, ``tokens_per_day``), ``limit``."""

    name: str = "custom"
    """What pages call it."""
    path: str | None = None
    """A trace: a file (gz, zst, xz, bz2 or zip undone), a folder or glob of files of one format (merged by time), - for
    standard input, a pipe, or an https address (#sha256=... behind it is checked). Replaces every other source."""
    packaged: str | None = None
    """File name of a trace that ships with servecap."""
    generator: GeneratorSpec | None = None
    """A synthetic workload; used where neither ``path`` nor ``packaged`` is stated."""
    fetch: str | None = None
    """Name of a public trace that ``servecap traces fetch NAME`` has put into the cache."""
    format: str = "auto"
    """Format of the file at ``path``: auto finds it by its content; ``servecap traces`` names what it found."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Native column -> the file's column: reads any table (CSV, TSV, JSON lines, Parquet; nested JSON with dots)."""
    time_format: str = "auto"
    """How a mapped table's times are written: auto, iso, a unit of numbers (s, ms, us, ns) or a strptime pattern."""
    decimal: Literal["auto", ".", ","] = "auto"
    """The decimal sign of a table's numbers; auto: a point where commas separate fields, else what the rows show."""
    start_s: float = Field(default=0.0, ge=0)
    """The window begins here, s from the trace's first moment; what is before it is left out."""
    duration_s: float | None = Field(default=None, gt=0)
    """Length of the window; None = to the trace's end."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many requests are replayed: the first."""
    transforms: tuple[Transform, ...] = ()
    """What is done to the requests of the window, in this order."""
    rate_scale: float = Field(default=1.0, gt=0, le=1e6)
    """Below 1 thins by one fixed uniform per request (rates nest); above 1 superposes circularly shifted copies.
    None = 1, or ``packaged_rate_scale`` while the packaged trace is the source."""
    packaged_rate_scale: float = Field(default=1.0, gt=0, le=1e6)
    """The packaged trace's rate scale when none is asked for: a user's own file is never scaled unasked."""
    rate_per_s: float | None = Field(default=None, gt=0, le=1e6)
    """Mean requests a second over the window, instead of ``rate_scale``, which then is what makes it so; None = not
    stated."""
    tokens_per_day: float | None = Field(default=None, gt=0, le=1e15)
    """Prompt and answer tokens together that a day of such traffic holds, instead of ``rate_scale``; None = not stated."""
    rate_mode: Literal["superpose", "squeeze"] = "superpose"
    """superpose: copies of the trace, shifted round its period; squeeze: all times divided by ``rate_scale``, which shortens
    think times and daily rhythms too."""
    warmup_s: float = Field(default=0.0, ge=0)
    """Requests before it are simulated and recorded, and left out of latency and goodput."""
    block_tokens: int | None = Field(default=None, ge=1)
    """Tokens in one block of a trace's ``block_hashes``; null: what the file's format or its lengths say, else 512."""
    dequantise_s: float | None = Field(default=None, gt=0)
    """Seconds of the tick that the trace's clock stands on: its arrivals are spread evenly over the tick, before any
    transform. Bursts below a clock's tick are not real."""
    lenient: bool = False
    """True sorts rows that step back in time, and leaves out and counts rows that cannot be used, instead of refusing."""
    lenient_max_loss: float = Field(default=0.01, ge=0, le=1)
    """The largest share of a file's rows that lenient reading may leave out; an assumption."""
    session_rate_per_s: float = Field(default=0.1, gt=0)
    """Sessions a second, for formats that record no time between sessions; an assumption."""
    characters_per_token: float = Field(default=4.0, gt=0, le=100)
    """Characters of a token, for traces that hold texts (WildChat, LMSYS, ShareGPT, batches) and no tokenizer; an
    assumption."""
    tokenizer: str | None = None
    """What counts the tokens of texts: a ``tokenizer.json``, or an encoding or model that tiktoken knows."""
    pool_rate_per_s: float | None = Field(default=None, gt=0)
    """Mean requests a second of a client pool's folder; None keeps the recorded rate."""
    source: str = ""
    """Where the trace is from; for display."""

    @model_validator(mode="before")
    @classmethod
    def _default_rate_scale(cls, data: Any) -> Any:
        values = data.kwargs if isinstance(data, ArgsKwargs) else data
        if not isinstance(values, dict) or values.get("rate_scale", 1.0) is not None:
            return data
        packaged = values.get("packaged") is not None and values.get("path") is None
        return {**values, "rate_scale": values.get("packaged_rate_scale", 1.0) if packaged else 1.0}

    @model_validator(mode="after")
    def _check(self) -> WorkloadSpec:
        if self.path is None and self.packaged is None and self.generator is None and self.fetch is None:
            raise ValueError("needs one of path (a trace file), packaged, generator or fetch (a public trace's name)")
        if self.rate_per_s is not None and self.tokens_per_day is not None:
            raise ValueError(
                "`rate_per_s` and `tokens_per_day` both state the load, state one of them, but got "
                f"{self.rate_per_s!r} and {self.tokens_per_day!r}"
            )
        reads = {"format": "auto", "columns": {}, "time_format": "auto", "decimal": "auto", "lenient": False}
        own = self.path is not None or (self.packaged is None and self.generator is None)
        for name in (name for name, default in reads.items() if not own and getattr(self, name) != default):
            raise ValueError(f"`{name}` says how to read `path`, which is not set, but got {getattr(self, name)!r}")
        if self.packaged is not None and (PurePath(self.packaged).name != self.packaged or "\\" in self.packaged):
            raise ValueError(f"`packaged` is the name of a file that ships with servecap, but got {self.packaged!r}")
        return self
