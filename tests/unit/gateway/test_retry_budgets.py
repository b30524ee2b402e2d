"""Retry budgets by hand. Sources: the head of ``sim.gateway.retry_budgets``."""

from __future__ import annotations

import pytest

from sim.gateway.request import Failure
from sim.gateway.retry_budgets import make_budget
from sim.spec.gateway.retrying import AwsBudget, EnvoyBudget, GrpcBudget

TIMEOUT, SHED, EVICTED = Failure("timeout", ""), Failure("shed", ""), Failure("evicted", "")


@pytest.mark.parametrize(("being_served", "allowed"), [(0, 3), (10, 3), (19, 3), (20, 4), (24, 4), (25, 5), (100, 20)])
def test_envoys_budget_is_a_fifth_of_what_is_served_and_at_least_three(being_served: int, allowed: int) -> None:
    """``canCreate``: count < max(uint64(20 % x active), 3)."""
    budget = make_budget(EnvoyBudget(), None)
    taken = [budget.withdraw(TIMEOUT, being_served) for _ in range(50)]
    assert sum(each is not None for each in taken) == allowed
    budget.ended(TIMEOUT, 1.0)
    assert budget.withdraw(TIMEOUT, being_served) is not None
    budget.ended(TIMEOUT, None)  # a first try held nothing
    assert budget.withdraw(TIMEOUT, being_served) is None


def test_grpcs_bucket_stops_retries_at_half_and_successes_refill_it() -> None:
    """10 tokens: the failures take 9, 8, 7, 6, 5; at 5 it stops, and one success at ratio 0.1 lets one through."""
    budget = make_budget(GrpcBudget(), None)
    for _ in range(4):
        budget.ended(TIMEOUT, None)
        assert budget.withdraw(TIMEOUT, 0) is not None
    budget.ended(TIMEOUT, 0.0)
    assert budget.withdraw(TIMEOUT, 0) is None
    budget.ended(None, None)
    assert budget.withdraw(TIMEOUT, 0) is not None
    for _ in range(20):
        budget.ended(TIMEOUT, None)
    for _ in range(50):  # from 0, 50 x 0.1 = 5 is not above half
        assert budget.withdraw(TIMEOUT, 0) is None
        budget.ended(None, None)
    budget.ended(None, None)
    assert budget.withdraw(TIMEOUT, 0) is not None


def test_grpc_counts_only_the_failures_that_it_retries() -> None:
    """ "RPCs that fail with a status code that qualifies as retryable": a deadline does not empty the bucket."""
    budget = make_budget(GrpcBudget(), ("shed", "evicted"))
    for _ in range(20):
        budget.ended(TIMEOUT, None)
    assert budget.withdraw(SHED, 0) is not None
    for _ in range(5):
        budget.ended(SHED, None)
    assert budget.withdraw(EVICTED, 0) is None


def test_botocores_quota_charges_a_timeout_ten_and_returns_what_was_taken() -> None:
    """20 tokens: timeout 10, shed 5, timeout 10 does not fit; the timeout's retry succeeds and returns 10, a first attempt
    1, and never more than the capacity."""
    budget = make_budget(AwsBudget(capacity=20), None)
    assert budget.withdraw(TIMEOUT, 0) == 10
    assert budget.withdraw(SHED, 0) == 5
    assert budget.withdraw(TIMEOUT, 0) is None
    budget.ended(TIMEOUT, 5.0)  # a retry that fails returns nothing
    budget.ended(None, 10.0)
    assert budget.withdraw(TIMEOUT, 0) == 10  # 15 - 10
    for _ in range(5):
        budget.ended(None, None)  # 10
    assert budget.withdraw(TIMEOUT, 0) == 10
    budget.ended(None, 10.0)
    budget.ended(None, 10.0)
    budget.ended(None, 10.0)
    assert [budget.withdraw(TIMEOUT, 0) for _ in range(3)] == [10, 10, None]


def test_botocores_quota_holds_fifty_retries_after_timeouts_and_a_hundred_after_refusals() -> None:
    for failure, retries in ((TIMEOUT, 50), (SHED, 100)):
        budget = make_budget(AwsBudget(), None)
        assert sum(budget.withdraw(failure, 0) is not None for _ in range(200)) == retries
