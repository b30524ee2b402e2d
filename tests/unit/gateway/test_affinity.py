"""Session affinity: a hash that spreads evenly, moves few sessions, and is the same everywhere."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from sim.gateway.affinity import SessionAffinityRouter
from sim.gateway.request import ClientRequest


class Server(NamedTuple):
    index: int
    pool: str = "main"
    requests_in_flight: int = 0
    tokens_in_flight: int = 0

    @property
    def name(self) -> str:
        return f"{self.pool}-{self.index}"


def request(row: int, session: str = "") -> ClientRequest:
    made = ClientRequest(row, 0.0, 100)
    made.session_id = session
    return made


def counts(servers: int, requests: list[ClientRequest]) -> np.ndarray:
    router, there = SessionAffinityRouter(), [Server(index) for index in range(servers)]
    return np.bincount([router.choose(each, there).index for each in requests], minlength=servers)


NAMES = {
    "numbered sessions": lambda n: request(n, f"s{n}"),
    "padded sessions": lambda n: request(n, f"user-{n:08d}"),
    "rows without a session": request,
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("servers", [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64])
def test_every_replica_gets_its_binomial_share(servers: int, kind: str) -> None:
    """n sessions over k replicas: each count is within 4.5 standard deviations of n / k, and so is the sum of squares."""
    n = 2000
    seen = counts(servers, [NAMES[kind](number) for number in range(n)])
    share = 1 / servers
    assert np.abs(seen - n * share).max() <= 4.5 * math.sqrt(n * share * (1 - share)) + 1e-9
    chi2 = float((((seen - n * share) ** 2) / (n * share)).sum())
    assert chi2 <= (servers - 1) + 4.5 * math.sqrt(2 * max(1, servers - 1))


def test_the_skew_that_a_linear_hash_had_is_gone() -> None:
    """Three and six replicas: a CRC gave the busiest 1.5 times its share."""
    for servers in (3, 6):
        seen = counts(servers, [request(number, f"s{number}") for number in range(30_000)])
        assert seen.max() / seen.mean() < 1.05


def test_only_the_sessions_of_a_replica_that_goes_move() -> None:
    router, servers = SessionAffinityRouter(), [Server(index) for index in range(5)]
    sessions = [request(0, f"s{n}") for n in range(300)]
    before = [router.choose(each, servers).index for each in sessions]
    after = [router.choose(each, servers[:-1]).index for each in sessions]
    assert all(a == b for a, b in zip(after, before, strict=True) if b != 4)
    moved = [a for a, b in zip(after, before, strict=True) if b == 4]
    assert set(moved) == {0, 1, 2, 3}


def test_another_process_with_another_hash_seed_chooses_the_same() -> None:
    code = (
        "from tests.unit.gateway.test_affinity import *\n"
        "r, s = SessionAffinityRouter(), [Server(i) for i in range(7)]\n"
        "print([r.choose(request(0, f's{n}'), s).index for n in range(40)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    router, servers = SessionAffinityRouter(), [Server(index) for index in range(7)]
    here = [router.choose(request(0, f"s{n}"), servers).index for n in range(40)]
    assert {each.strip() for each in said} == {str(here)}
