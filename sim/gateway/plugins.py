"""Policies from other distributions, found by entry point.

A distribution declares, for example, ``[project.entry-points."servecap.routers"] mine = "my_package:MyRouter"``; the
configuration ``gateway.router: {kind: plugin, name: mine, options: {...}}`` then calls ``MyRouter(**options)``. The object
must satisfy the protocol of its kind: ``Router``, ``RetryPolicy`` or ``AdmissionPolicy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from sim.errors import ConfigError

ROUTERS = "servecap.routers"
RETRY_POLICIES = "servecap.retry_policies"
ADMISSION = "servecap.admission"


def load_plugin(group: str, name: str, options: Mapping[str, Any]) -> Any:
    """The policy that entry point ``name`` of ``group`` makes from ``options``.

    Raises:
        ConfigError: there is none, or it does not take these options.
    """
    found = {entry.name: entry for entry in metadata.entry_points(group=group)}
    if name not in found:
        raise ConfigError(f"plugin {name!r} is not installed; entry points of group {group}: {sorted(found) or 'none'}")
    try:
        return found[name].load()(**options)
    except TypeError as error:
        raise ConfigError(f"plugin {name!r} of group {group} does not take options {dict(options)}: {error}") from error
