"""Checked access to a ``config.json``: every value is what its key promises, or the key and what was found are named.

Three rules. A key under several spellings is read under the first that is stated; ``null`` means none. What a file
leaves out is the default of its class where the class has one (``class_defaults.json``: the configuration classes of
transformers 5.24), but a whole model must state its own sizes: files are written with them, so a missing one is a damaged
file, not a default. Sub-configurations are written as differences from their class, so there defaults hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from sim.errors import ConfigError

MOST = 10_000_000
"""No width or count of a real model comes near it."""


class Facts:
    """One configuration object; ``where`` is how messages name it."""

    def __init__(self, stated: Mapping[str, Any], where: str, *, kind: str = "", nested: bool = False) -> None:
        self.stated = stated
        self.where = where
        self.kind = kind
        """Its ``model_type``."""
        self.nested = nested
        self.defaults: Mapping[str, Any] = class_defaults().get(kind, {})

    def refused(self, key: str, why: str) -> ConfigError:
        """An error about ``key``."""
        return ConfigError(f"model.hf_config: {self.where}: {key}: {why}")

    def found(self, *names: str) -> tuple[str, Any]:
        """The first of ``names`` that is stated, and its value; then the first with a default of the class."""
        for name in names:
            if self.stated.get(name) is not None:
                return name, self.stated[name]
        null = next((name for name in names if name in self.stated), None)
        if null is not None:
            return null, None
        for name in names:
            if self.defaults.get(name) is not None:
                return name, self.defaults[name]
        return names[0], None

    def says(self, *names: str) -> bool:
        """Whether the file itself states one of ``names``."""
        return any(self.stated.get(name) is not None for name in names)

    def size(self, *names: str) -> int:
        """A width or count of at least 1 that a whole model must state."""
        name, value = self.found(*names)
        if value is None or not (self.nested or self.says(*names)):
            null = next((n for n in names if n in self.stated), None)
            if null is not None:
                raise self.refused(null, "must be a whole number of at least 1, but got null")
            raise ConfigError(f"model.hf_config: {self.where}: {' or '.join(names)} is missing")
        return self._whole(name, value, 1, MOST)

    def whole(self, *names: str, default: int = 0, low: int = 0, high: int = MOST) -> int:
        """An optional whole number."""
        name, value = self.found(*names)
        return default if value is None else self._whole(name, value, low, high)

    def each(self, layers: int, *names: str, default: int | None = None, low: int = 0) -> tuple[int, ...]:
        """A whole number for each layer: one for all, or a list of them. Without ``default`` it must be stated."""
        name, value = self.found(*names)
        if isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) != layers:
                raise self.refused(name, f"must have one entry for each of the {layers} layers, but got {len(value)}")
            return tuple(self._whole(name, one, low, MOST) for one in value)
        if value is None and default is not None:
            return (default,) * layers
        return (self.size(*names) if default is None else self._whole(name, value, low, MOST),) * layers

    def number(self, *names: str, default: float, high: float = 1e5) -> float:
        """An optional number above 0, at most ``high``."""
        name, value = self.found(*names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= high:
            raise self.refused(name, f"must be a number above 0, at most {high:g}, but got {value!r}")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """An optional truth value."""
        name, value = self.found(*names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refused(name, f"must be true or false, but got {value!r}")
        return value

    def text(self, *names: str, default: str = "") -> str:
        """An optional word."""
        name, value = self.found(*names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.refused(name, f"must be a string, but got {value!r}")
        return value

    def words(self, name: str, layers: int) -> tuple[str, ...] | None:
        """One word a layer, where the file states them."""
        value = self.stated.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.refused(name, f"must be a list of strings, but got {value!r}")
        if len(value) < layers:
            raise self.refused(name, f"must have one entry for each of the {layers} layers, but got {len(value)}")
        return tuple(value[:layers])

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers, where the file states it."""
        value = self.stated.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.refused(name, f"must be a list of whole numbers, but got {value!r}")
        return tuple(self._whole(name, one, 0, MOST) for one in value)

    def inner(self, *names: str) -> Facts | None:
        """A nested object; its class defaults hold."""
        name, value = next(((n, self.stated[n]) for n in names if self.stated.get(n) is not None), (names[0], None))
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refused(name, f"must be an object, but got {value!r}")
        kind = value.get("model_type") or ""
        if not isinstance(kind, str):
            raise self.refused(f"{name}.model_type", f"must be a string, but got {kind!r}")
        return Facts(value, f"{self.where}: {name}", kind=kind, nested=True)

    def _whole(self, name: str, value: Any, low: int, high: int) -> int:
        fits = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value == int(value))
        if isinstance(value, bool) or not fits or not low <= value <= high:
            shown = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]}..."
            raise self.refused(name, f"must be a whole number from {low} to {high}, but got {shown}")
        return int(value)


@cache
def class_defaults() -> dict[str, dict[str, Any]]:
    """Sizes that a configuration class has where its file says nothing, by model type."""
    text = (files("sim.perf.hf_config") / "class_defaults.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
