"""Queueing theory: what a queue's mean wait must be, in closed form, to hold the simulation against.

``arrival_rate_per_s`` (lambda) of a Poisson stream, service times in seconds, utilisation rho < 1. Waits are times in
the queue before service; an unstable queue waits for ever (infinity). Source: Kleinrock, Queueing Systems I (1975);
Gross, Shortle, Thompson and Harris, Fundamentals of Queueing Theory (2018).
"""

from __future__ import annotations


def utilisation(arrival_rate_per_s: float, mean_service_s: float, servers: int = 1) -> float:
    """rho = lambda E[S] / c."""
    return arrival_rate_per_s * mean_service_s / servers


def pollaczek_khinchine_wait_s(arrival_rate_per_s: float, mean_service_s: float, service_scv: float) -> float:
    """Mean wait of M/G/1: rho E[S] (1 + C^2) / (2 (1 - rho)), where C^2 = variance / mean^2 of the service time."""
    rho = utilisation(arrival_rate_per_s, mean_service_s)
    if rho >= 1:
        return float("inf")
    return rho * mean_service_s * (1 + service_scv) / (2 * (1 - rho))


def mm1_wait_s(arrival_rate_per_s: float, mean_service_s: float) -> float:
    """Mean wait of M/M/1: rho E[S] / (1 - rho)."""
    return pollaczek_khinchine_wait_s(arrival_rate_per_s, mean_service_s, 1.0)


def md1_wait_s(arrival_rate_per_s: float, service_s: float) -> float:
    """Mean wait of M/D/1: half of M/M/1's."""
    return pollaczek_khinchine_wait_s(arrival_rate_per_s, service_s, 0.0)


def erlang_b(offered_erlangs: float, servers: int) -> float:
    """Share of arrivals lost by c servers without a queue: B(c) = a B(c-1) / (c + a B(c-1)), B(0) = 1."""
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = offered_erlangs * blocked / (server + offered_erlangs * blocked)
    return blocked


def erlang_c(offered_erlangs: float, servers: int) -> float:
    """Share of arrivals that must wait at c servers with a queue: C = c B / (c - a (1 - B)); 1 when unstable."""
    if offered_erlangs >= servers:
        return 1.0
    blocked = erlang_b(offered_erlangs, servers)
    return servers * blocked / (servers - offered_erlangs * (1 - blocked))


def mmc_wait_s(arrival_rate_per_s: float, mean_service_s: float, servers: int) -> float:
    """Mean wait of M/M/c: C(c, a) E[S] / (c - a), a = lambda E[S]."""
    offered = arrival_rate_per_s * mean_service_s
    if offered >= servers:
        return float("inf")
    return erlang_c(offered, servers) * mean_service_s / (servers - offered)


def little_mean_in_system(arrival_rate_per_s: float, mean_time_in_system_s: float) -> float:
    """L = lambda W."""
    return arrival_rate_per_s * mean_time_in_system_s
