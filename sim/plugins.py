"""Policies of one's own: classes of the session, or entry points of installed distributions.

A notebook passes a class: ``simulate(scenario, policies={"mine": MyRouter})``. A distribution declares, for example,
``[project.entry-points."servecap.routers"] mine = "my_package:MyRouter"``. Either way the configuration ``gateway.router:
{kind: plugin, name: mine, options: {...}}`` calls ``MyRouter(**options)``, and a class whose constructor takes ``rng`` is
handed its own random stream, a ``numpy.random.Generator`` that follows from the seed. The object must satisfy the protocol
of its kind: ``Router``, ``RetryPolicy``, ``AdmissionPolicy`` or ``Autoscaler``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from sim.errors import ConfigError
from sim.rng import stream

ROUTERS = "servecap.routers"
RETRY_POLICIES = "servecap.retry_policies"
ADMISSION = "servecap.admission"
AUTOSCALERS = "servecap.autoscalers"

Policies = Mapping[str, Callable[..., Any]]
"""Name -> class, of the session."""


class Plugins:
    """Where a run's plugins come from: ``session`` first, then what is installed."""

    def __init__(self, seed: int = 0, session: Policies | None = None) -> None:
        self._seed = seed
        self._session = dict(session or {})

    def make(self, group: str, name: str, options: Mapping[str, Any]) -> Any:
        """The policy ``name`` of ``group``, made from ``options``.

        Raises:
            ConfigError: there is none, or it does not take these options.
        """
        maker = self._find(group, name)
        try:
            arguments = dict(options)
            if "rng" in inspect.signature(maker).parameters:
                arguments["rng"] = stream(self._seed, "plugin", group, name)
            return maker(**arguments)
        except TypeError as error:
            raise ConfigError(f"plugin {name!r} of group {group} does not take options {dict(options)}: {error}") from error

    def _find(self, group: str, name: str) -> Callable[..., Any]:
        if name in self._session:
            return self._session[name]
        found = {entry.name: entry for entry in metadata.entry_points(group=group)}
        if name not in found:
            raise ConfigError(
                f"plugin {name!r} is not installed; entry points of group {group}: {sorted(found) or 'none'}; policies of "
                f"this session: {sorted(self._session) or 'none'}"
            )
        maker: Callable[..., Any] = found[name].load()
        return maker
