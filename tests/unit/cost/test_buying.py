"""APIs and machines as they are bought: contracts, commitments, purchase."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.analysis import month, price, summarize
from sim.cli.compose import composed_scenario
from sim.cli.sweep_pareto import with_pareto
from sim.cost.api_terms import ApiBill, ApiMonth, contract_terms, volume_discount
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.capacity_curve import CapacityCurve
from sim.cost.purchase import usd_per_owned_gpu_hour
from sim.report.chart import figure
from sim.report.frontier import pareto_chart
from sim.run import simulate
from sim.search.pareto import knee, pareto_set
from sim.spec.cost import PurchaseSpec
from sim.spec.gateway.answers import ApiSpec, VolumeDiscount
from sim.units import DAYS_PER_MONTH

SHORT = ["workload.duration_s=60", "workload.rate_scale=1", "output.timeseries=false"]
API = ApiSpec(input_usd_per_1m=1.0, output_usd_per_1m=2.0)


def spec(**terms) -> ApiSpec:
    return ApiSpec(input_usd_per_1m=1.0, output_usd_per_1m=2.0, **terms)


def test_terms_by_hand() -> None:
    assert contract_terms(API, 100.0, 1e6, 1.0) == {}
    assert contract_terms(spec(minimum_usd_per_month=250.0), 100.0, 1e6, 0.5) == {"minimum spend unused": 25.0}
    assert contract_terms(spec(batch_fraction=0.4, batch_discount_fraction=0.5), 100.0, 1e6, 1.0) == {
        "batch discount": -20.0
    }
    tiers = (
        VolumeDiscount(from_tokens_per_month=1e6, discount_fraction=0.1),
        VolumeDiscount(from_tokens_per_month=3e6, discount_fraction=0.2),
    )
    assert volume_discount(spec(volume_discounts=tiers), 5e6) == pytest.approx((2 * 0.1 + 2 * 0.2) / 5)
    assert volume_discount(spec(volume_discounts=tiers), 0.5e6) == 0.0


@given(st.floats(0, 1e6), st.floats(0, 1e12), st.floats(1e-6, 2), st.floats(0, 1e5), st.floats(0, 0.9))
def test_a_contract_never_costs_less_than_its_minimum(listed, tokens, months, least, discount) -> None:
    tier = VolumeDiscount(from_tokens_per_month=1e6, discount_fraction=discount)
    terms = contract_terms(spec(minimum_usd_per_month=least, volume_discounts=(tier,)), listed, tokens, months)
    assert listed + sum(terms.values()) >= least * months * (1 - 1e-9)


def test_a_contract_is_in_the_month() -> None:
    overrides = [*SHORT, "fleet.replicas=0", "api=gpt_4o_mini", "gateway.hybrid={api_first: true}"]
    plain = summarize(simulate(composed_scenario(overrides)))["cost"]["window"]["usd_per_month"]
    contract = [*overrides, "gateway.apis.gpt_4o_mini.minimum_usd_per_month=50000"]
    result = simulate(composed_scenario(contract))
    assert plain < 50_000
    assert month(result).usd == pytest.approx(50_000)
    assert price(result).find("api", "gpt_4o_mini", "minimum spend unused").usd > 0


def test_a_commitment_is_paid_when_unused() -> None:
    usd = composed_scenario(SHORT).gpu.price.on_demand_usd_per_hour * 730
    for replicas, committed, expected in ((2, 2, 2 * 0.5), (1, 3, 3 * 0.5), (3, 1, 2 + 0.5)):
        result = simulate(
            composed_scenario([*SHORT, f"fleet.replicas={replicas}", f"cost.commitment={{gpus: {committed}, years: 3}}"])
        )
        assert month(result).usd == pytest.approx(usd * expected, rel=1e-9)


def test_a_machine_of_ones_own_has_its_arithmetic_shown() -> None:
    bought = PurchaseSpec(machine_usd=250_000, machine_gpus=8, years=4, machine_w=10_000, pue=1.3, usd_per_kwh=0.12,
                          hosting_usd_per_month=1460, used_elsewhere_fraction=0.25)  # fmt: skip
    by_hand = (250_000 / 35_040 + 10 * 1.3 * 0.12 + 2.0) * 0.75 / 8
    assert usd_per_owned_gpu_hour(bought) == pytest.approx(by_hand)
    scenario = composed_scenario(
        [*SHORT, "gpu=h100", "fleet.replicas=3", "cost.purchase={machine_usd: 250000, machine_w: 10000}"]
    )
    assert "$250,000 over 4 years" in scenario.gpu.price.source
    assert month(simulate(scenario)).usd == pytest.approx(8 * scenario.gpu.price.on_demand_usd_per_hour * 730)


_POINTS = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.01, 10)), max_size=30)


@given(_POINTS)
def test_nothing_beats_the_pareto_set(points) -> None:
    chosen = pareto_set(points)
    for i in chosen:
        assert not any(p[0] <= points[i][0] and p[1] <= points[i][1] and p != points[i] for p in points)
    for j in set(range(len(points))) - set(chosen):
        assert any(points[i][0] <= points[j][0] and points[i][1] <= points[j][1] for i in chosen)
    assert knee(points, chosen) in (None, *chosen[1:-1])


def test_the_knee_is_where_money_stops_buying() -> None:
    points = [(1.0, 10.0), (1.2, 2.0), (5.0, 1.5), (10.0, 1.0), (11.0, 5.0)]
    assert pareto_set(points) == [0, 1, 2, 3]
    assert knee(points, pareto_set(points)) == 1


def test_the_knee_is_marked_on_the_page() -> None:
    """Ringed and named where there is one; said where there is none."""
    cells = [(128, 1.0, 1.9), (64, 1.2, 0.6), (32, 5.0, 0.4), (16, 6.0, 1.0)]

    def page(points) -> str:
        rows = [
            {"max_num_seqs": cap, "gpu": "l40s", "replicas": 2, "verdict": "pass", "holds": True, "ttft_p95_s": p95,
             "usd_per_1m_output_tokens": usd} for cap, usd, p95 in points
        ]  # fmt: skip
        return figure(pareto_chart(with_pareto(rows)))

    assert "knee: 64 on" in page(cells)
    assert "no knee" in page([(128, 1.0, 1.9), (64, 4.0, 1.7), (32, 5.0, 0.4)])


def test_a_contract_moves_the_break_even() -> None:
    """By hand: below its minimum spend an API costs the minimum; beyond a tier each token is cheaper."""
    api = ApiSpec(input_usd_per_1m=0.0, output_usd_per_1m=1.0)
    home = {"capacity": CapacityCurve.of([(1, 100e6)]), "usd_per_gpu_hour": 1.0, "input_per_output": 0.0}
    priced = {"api_output_usd_per_1m": 1.0, "today_tokens_per_day": 1e6}

    def against(terms: ApiSpec) -> Economics:
        month = ApiMonth((ApiBill(terms, 1e6 * DAYS_PER_MONTH / 1e6, 1e6 * DAYS_PER_MONTH),))
        return Economics(**home, **priced, contract=month)

    listed = Economics(**home, **priced)
    assert break_even_tokens_per_day(listed) == pytest.approx(24e6)
    assert break_even_tokens_per_day(against(api)) == pytest.approx(24e6)
    assert break_even_tokens_per_day(against(replace(api, minimum_usd_per_month=800.0))) == 0.0
    tier = VolumeDiscount(from_tokens_per_month=0.0, discount_fraction=0.9)
    assert break_even_tokens_per_day(against(replace(api, volume_discounts=(tier,)))) is None
    month = ApiMonth((ApiBill(replace(api, minimum_usd_per_month=100.0), 40.0, 1e6),), by_volume_usd=3.0, fixed_usd=7.0)
    assert (month.usd(), month.usd(5.0)) == (pytest.approx(110.0), pytest.approx(222.0))


def test_a_commitment_is_in_the_break_even() -> None:
    """Two GPUs are paid for either way: the first two replicas cost nothing more, the third its price."""
    numbers = Economics(
        capacity=CapacityCurve.of([(1, 10e6)]), usd_per_gpu_hour=1.0, committed_gpus=2, committed_usd_per_hour=1.0,
        api_output_usd_per_1m=10.0, input_per_output=0.0,
    )  # fmt: skip
    usd = [numbers.fleet_usd_per_month(n, 0.0) for n in (0, 1, 2, 3)]
    assert usd == [pytest.approx(730.0)] * 3 + [pytest.approx(1460.0)]
    assert break_even_tokens_per_day(numbers) == 0.0


@pytest.mark.parametrize(
    "bought",
    [
        ["cost.market=reserved", "cost.reserved_discount_fraction=0.4", "gpu.price.reserved_usd_per_hour=null"],
        ["cost.market=on_demand", "fleet.market=spot", "spot.price_only=true"],
        ["fleet.market=reserved", "cost.reserved_discount_fraction=0.25", "gpu.price.reserved_usd_per_hour=null"],
        ["cost.commitment={gpus: 1, years: 3}"],
        ["cost.commitment={gpus: 3, years: 1}"],
        ["cost.purchase={machine_usd: 90000, machine_gpus: 1, machine_w: 900}"],
    ],
)
def test_the_time_series_charges_what_the_bill_does(bought) -> None:
    result = simulate(composed_scenario([*SHORT, "output.timeseries=true", "fleet.replicas=2", *bought]))
    tree = price(result)
    paid = tree.find("compute").usd + (node.usd if (node := tree.find("commitment")) else 0.0)
    assert result.timeseries["usd_per_hour"].median() == pytest.approx(paid / result.end_s * 3600)


def test_an_api_alone_draws_no_power_of_machines_that_were_bought() -> None:
    """Joules without a replica are undefined: the month of an API beside bought machines was, too, and ``decide`` fell."""
    bought = ["cost.purchase={machine_usd: 90000, machine_gpus: 4}", "fleet.replicas=0", "api=gpt_4o_mini"]
    result = simulate(composed_scenario([*SHORT, *bought, "workload.limit=20"]))
    tree = price(result)
    assert tree.usd == pytest.approx(sum(result.api_bill_usd["gpt_4o_mini"].values())) and tree.find("power") is None
