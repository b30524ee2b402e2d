"""The shape of a measured case's ``measured.json``: what is read of it and what each part may hold.

Files of other projects say more than is read here; what they add is left alone, but what is read must be what it should.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sim.errors import TraceError


def _empty(value: object) -> object:
    return {} if value is None else value


def _list(value: object) -> object:
    return [] if value is None else value


def _mean(value: object) -> object:
    return {"mean": value} if isinstance(value, int | float) else _empty(value)


_Facts = Annotated[dict[str, Any], BeforeValidator(_empty)]
_Statistics = Annotated[dict[str, float | None], BeforeValidator(_mean)]
"""Of one metric, milliseconds, by ``mean``, ``p50``, ...; a bare number is the mean."""
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Metrics(_Part):
    """What was measured of a run, or of one of its load stages."""

    ttft_ms: _Statistics = {}
    tpot_ms: _Statistics = {}
    e2e_ms: _Statistics = {}
    output_tokens_per_s: float | None = None
    failures: int = Field(default=0, ge=0)

    def by_metric(self) -> dict[str, dict[str, float]]:
        """Metric -> statistic -> milliseconds; tokens a second."""
        out: dict[str, dict[str, float]] = {}
        for name in ("ttft", "tpot", "e2e"):
            values = {key: value for key, value in getattr(self, f"{name}_ms").items() if value is not None and key != "n"}
            if values:
                out[name] = values
        if self.output_tokens_per_s is not None:
            out["output_tokens_per_s"] = {"mean": self.output_tokens_per_s}
        return out


class Hardware(_Part):
    """The GPUs."""

    gpu: str
    gpu_count: int | None = Field(default=None, ge=1)


class Engine(_Part):
    """The server: its release, the flags it was started with, and options as it resolved them (kept as they are)."""

    name: str = "vllm"
    version: str | float = "0"
    flags: _Facts = {}
    num_gpu_blocks: int | None = None


class Run(_Part):
    """Who sent the requests."""

    csv: str = "workload.csv"
    kind: str | None = None
    """``closed``: users that wait for their answers; ``micro``: bursts that measure steps; else as recorded."""
    users: int | None = Field(default=None, ge=1)
    ret: _Facts = {}
    think_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    start_phase: float = Field(default=0.0, ge=0, le=1)
    client_timeout_s: _Seconds | None = None
    timeout_s: _Seconds | None = None


class Client(_Part):
    """The load generator."""

    client_timeout_s: _Seconds | None = None
    timeout_s: _Seconds | None = None


class CaseFile(_Part):
    """``measured.json``."""

    model: str | dict[str, Any]
    """A published name, or its ``config.json``."""
    hf_config: str | dict[str, Any] | None = None
    """The geometry, or a file that has it."""
    dtype: str | None = None
    level: str = "aggregate"
    hardware: Hardware
    parallelism: _Facts = {}
    engine: Engine
    workload: Run
    client: Client = Client()
    metrics: Annotated[Metrics, BeforeValidator(_empty)] = Metrics()
    stages: Annotated[list[Metrics], BeforeValidator(_list)] = []
    segments: Annotated[list[Metrics], BeforeValidator(_list)] = []
    client_timeout_s: _Seconds | None = None
    timeout_s: _Seconds | None = None

    def patience_s(self) -> float | None:
        """The client's, as recorded."""
        stated = (part for part in (self.workload, self.client, self) if part.client_timeout_s or part.timeout_s)
        return next((part.client_timeout_s or part.timeout_s for part in stated), None)


def read_case_file(path: Path) -> CaseFile:
    """The file at ``path``.

    Raises:
        TraceError: it cannot be read, or a part is not what it should be: every one with its key and value.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise TraceError(f"{path}: not a measured case ({error})") from None
    if not isinstance(data, dict):
        raise TraceError(f"{path}: not a measured case (it must hold an object, but got {data!r:.60})")
    try:
        return CaseFile.model_validate(data)
    except ValidationError as error:
        lines = [mistake(item) for item in error.errors()]
        raise TraceError(f"{path}: not a measured case ({'; '.join(dict.fromkeys(lines))})") from None


def mistake(item: Any, group: str = "") -> str:
    """One error of a validation in words: key, reason and value; keys stand in ``group``."""
    key = ".".join([*([group] if group else []), *(str(part) for part in item["loc"])])
    why = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
    found = "" if item["type"] == "missing" else f", but got {item['input']!r:.60}"
    return f"{key}: {why}{found}"
