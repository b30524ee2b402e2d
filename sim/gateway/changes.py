"""Changes on the timeline that the gateway acts on: providers that do not answer, and the chance of escalating. They become
part of what the gateway is told, so that nothing has to happen at their moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.errors import ConfigError
from sim.spec import GatewaySpec
from sim.spec.gateway.answers import ApiSpec, Outage
from sim.spec.timeline import ApiOutage, Change, EscalationChange

_TO_THE_END_S = 1e12
"""Later than any run ends."""


def with_changes(spec: GatewaySpec, timeline: Sequence[Change]) -> GatewaySpec:
    """``spec`` whose providers and hybrid rule know the changes of ``timeline``.

    Raises:
        ConfigError: a change that has nothing to act on, or that ends before it begins.
    """
    apis, hybrid = dict(spec.apis), spec.hybrid
    for place, change in enumerate(timeline):
        if isinstance(change, ApiOutage):
            apis = _with_outage(apis, change, f"timeline.{place}")
        elif isinstance(change, EscalationChange):
            if hybrid is None:
                raise ConfigError(f"timeline.{place}: an escalation change needs gateway.hybrid, which is not set")
            hybrid = replace(hybrid, escalation_changes=(*hybrid.escalation_changes, change))
    return replace(spec, apis=apis, hybrid=hybrid)


def _with_outage(apis: dict[str, ApiSpec], change: ApiOutage, key: str) -> dict[str, ApiSpec]:
    down = [change.provider] if change.provider else list(apis)
    if not down or down[0] not in apis:
        known = ", ".join(apis) or "none"
        raise ConfigError(f"{key}.provider: there is no provider {change.provider!r}; gateway.apis has {known}")
    until_s = _TO_THE_END_S if change.until_s is None else change.until_s
    if until_s <= change.at_s:
        raise ConfigError(f"{key}.until_s: must be after at_s ({change.at_s}), but got {until_s}")
    outage = Outage(start_s=change.at_s, duration_s=until_s - change.at_s)
    return {name: replace(api, outages=(*api.outages, outage)) if name in down else api for name, api in apis.items()}
