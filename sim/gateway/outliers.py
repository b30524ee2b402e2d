"""Who is left out for a while: replicas and providers that fail.

Three policies, a file each: Envoy's outlier detection, LiteLLM's cooldowns, circuit breakers. They differ in what counts as
a failure, in whom they judge it against, and in what happens when nobody is left: Envoy then sends to everybody, the other
two fail the request.
"""

from __future__ import annotations

from sim.fleet.endpoints import Endpoints
from sim.gateway.circuit_breaker import CircuitBreakers
from sim.gateway.ejection import OutlierDetector
from sim.gateway.envoy_outliers import EnvoyDetector
from sim.gateway.litellm_cooldown import LitellmCooldowns
from sim.spec.gateway.retrying import CircuitBreaker, EnvoyOutliers, LitellmCooldown, Outliers


def make_outliers(spec: Outliers, endpoints: Endpoints | None = None) -> OutlierDetector:
    """The detector that ``spec`` names; of replicas, it is asked about the lists that ``endpoints`` keeps."""
    match spec:
        case EnvoyOutliers():
            return EnvoyDetector(spec, endpoints)
        case LitellmCooldown():
            return LitellmCooldowns(spec)
        case CircuitBreaker():
            return CircuitBreakers(spec)
