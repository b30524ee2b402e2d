"""The unit of a configuration key, told by the ending of its name: ``_s``, ``_tokens``, ``_usd_per_hour`` ..."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from sim.spec.legal_keys import members

_UNITS = (
    (r"usd_per_1m", "US$ per 1M tokens"),
    (r"usd_per_(gpu_)?hour", "US$/h"),
    (r"usd_per_gib_hour", "US$/GiB/h"),
    (r"usd_per_kwh", "US$/kWh"),
    (r"usd_per_month", "US$/month"),
    (r"usd_per_year", "US$/year"),
    (r"usd_per_gib_month", "US$/GiB/month"),
    (r"usd_per_gib", "US$/GiB"),
    (r"hours_per_month", "h/month"),
    (r"tokens_per_month", "tokens/month"),
    (r"tokens_per_day", "tokens/day"),
    (r"usd", "US$"),
    (r"bytes_per_(\w+_)?token", "bytes/token"),
    (r"bytes_per_logit", "bytes/logit"),
    (r"s_per_token", "s/token"),
    (r"characters_per_token", "characters/token"),
    (r"tokens_per_s", "tokens/s"),
    (r"requests_per_s", "requests/s"),
    (r"gib_per_s", "GiB/s"),
    (r"(gb_s|gb_s_per_direction)", "GB/s"),
    (r"rates?_per_s", "1/s"),
    (r"tflops_\w+", "TFLOP/s"),
    (r"(s|seconds)", "s"),
    (r"h", "h"),
    (r"hour", "hour of the day"),
    (r"w", "W"),
    (r"months", "months"),
    (r"years", "years"),
    (r"fte", "full-time engineers"),
    (r"gib", "GiB"),
    (r"bytes", "bytes"),
    (r"(tokens|max_model_len|max_context|isl)", "tokens"),
    (r"(requests|seqs|max_running|max_interactive|queue_depth)", "requests"),
    (r"replicas", "replicas"),
    (r"(gpus|gpu_budget)", "GPUs"),
    (r"(fraction|share|probability|rejected|utilization|max_loss)", "share"),
)
"""Ending of a key's name -> its unit; the first that fits."""
_BY_CLASS = {
    ("TokensInFlight", "target"): "tokens", ("RequestsInFlight", "target"): "requests", ("Qps", "target"): "1/s",
    ("QueueLength", "target"): "requests", ("KvOccupancy", "target"): "share", ("BacklogSeconds", "target"): "s",
    ("HpaV2", "target"): "of the metric", ("Keda", "target"): "of the metric", ("Keda", "activation"): "of the metric",
    ("KnativeKpa", "target"): "requests",
}  # fmt: skip
"""Where the name says nothing of the unit."""


def unit_of(owner: type, name: str, annotation: Any) -> str:
    """The unit of ``owner``'s key ``name``: of each entry, where the value is a list or a mapping."""
    if (owner.__name__, name) in _BY_CLASS:
        return _BY_CLASS[owner.__name__, name]
    kept = [member for member in members(annotation) if member is not NoneType]
    innermost = kept[0]
    while get_origin(innermost) in (dict, tuple):
        inner = get_args(innermost)
        innermost = next(members(inner[1 if get_origin(innermost) is dict else 0]))
    if innermost in (int, float) or (get_origin(innermost) is Literal and isinstance(get_args(innermost)[0], int)):
        known = next((unit for ending, unit in _UNITS if re.search(rf"(^|_){ending}$", name)), None)
        if known is not None or innermost is not float:
            return known or "count"
        return "share" if _within_one(owner.__pydantic_fields__[name].metadata) else "ratio"  # type: ignore[attr-defined]
    if get_origin(innermost) is Literal:
        return "choice"
    return {bool: "true or false", str: "text"}.get(innermost, "none: holds keys" if is_dataclass(innermost) else "any")


def _within_one(metadata: Sequence[Any]) -> bool:
    lows = [getattr(one, sign) for one in flat(metadata) for sign in ("ge", "gt") if hasattr(one, sign)]
    highs = [getattr(one, sign) for one in flat(metadata) for sign in ("le", "lt") if hasattr(one, sign)]
    return lows == [0] and highs == [1]


def flat(metadata: Sequence[Any]) -> list[Any]:
    """The constraints of a type, those inside a ``Field`` too."""
    return [one for item in metadata for one in (item.metadata if isinstance(item, FieldInfo) else [item])]
