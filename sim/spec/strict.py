"""The one pydantic configuration that every spec class uses: unknown keys, NaN and infinity are errors; validators are built
when they are first needed, once for a whole ``Scenario``."""

from __future__ import annotations

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)
