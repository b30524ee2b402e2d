"""The one pydantic configuration that every spec class uses: unknown keys, NaN and infinity are errors."""

from __future__ import annotations

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
