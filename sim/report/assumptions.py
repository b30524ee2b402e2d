"""What a page's numbers rest on: prices, hardware, model, traffic, and how far the step times are to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from markupsafe import Markup

from sim.cost.prices import stated_price_warning
from sim.errors import SimError
from sim.perf import resolve_engine, step_time_model
from sim.record.result import Result
from sim.report.names import traffic_name
from sim.report.page import NOTHING, paragraph, table
from sim.report.scale import number
from sim.spec import GpuPrice, Scenario
from sim.spec.served_fleet import ServedPool, served_pools, server_lines, server_title
from sim.spec.speculative import MEASURED_RATES, rates_of
from sim.workload.trace import left_out_sentences

_TRUST = {
    "interpolated": "a table fitted to measured kernels of this GPU, model and parallelism",
    "extrapolated": "the roofline, with efficiencies fitted on this GPU generation",
    "uncalibrated": "the roofline with pooled efficiencies: nothing of this GPU generation was measured",
}


def regime_badge(scenario: Scenario) -> str:
    """How far the step times behind a run are to be trusted, in one line."""
    regimes = set()
    for pool in served_pools(scenario):
        try:
            engine = resolve_engine(pool.engine, pool.model, pool.gpu)
            regimes.add(str(step_time_model(pool.model, pool.gpu, engine).regime))
        except SimError:
            continue
    words = "; ".join(f"{regime}: {_TRUST.get(regime, regime)}" for regime in sorted(regimes))
    badge = f"Step times {words}. `servecap validate` compares predictions with measured servers." if words else ""
    badge += " ".join(["", *sorted(_transfers(scenario))])
    engine = scenario.engine
    if engine.noisy:
        badge += (
            f" Single steps stray by chance (CV {engine.step_noise_cv:g}; {engine.straggler_rate:.1%} take "
            f"{engine.straggler_factor:g} times as long): nothing was skipped, every step was simulated."
        )
    return badge


def _transfers(scenario: Scenario) -> set[str]:
    """Of each pool whose GPU was calibrated on another model or parallelism: what its multipliers carry over."""
    found = set()
    for pool in served_pools(scenario):
        model, gpu, engine = pool.model, pool.gpu, pool.engine
        here = f"{model.name} {model.weight_dtype} TP{engine.tensor_parallel_size} {engine.name}"
        if gpu.calibrated_on in ("", here):
            continue
        shares = ", ".join(f"{name} x {value:.3g}" for name, value in gpu.step_time_scale.items())
        link = "" if engine.tensor_parallel_size == 1 or "link" in gpu.step_time_scale else " The link was not measured."
        found.add(
            f"{gpu.name} was calibrated on {gpu.calibrated_on}; of {here} the multipliers ({shares}) carry what they say of "
            f"GPU, CPU and API server, not how this model's shapes fit them.{link}"
        )
    return found


def hourly_words(price: GpuPrice) -> str:
    """``$1.37 on demand, $0.941 spot a GPU-hour``."""
    return f"${number(price.on_demand_usd_per_hour)} on demand, ${number(price.spot_usd_per_hour)} spot a GPU-hour"


def assumptions(result: Result) -> Markup:
    """What the numbers rest on, with date and source; old prices and unchecked ones are named."""
    scenario = result.scenario
    workload, cost = scenario.workload, scenario.cost
    pools = list(served_pools(scenario)) if scenario.has_machines else []
    targets = ", ".join(f"{name} ≤ {limit:g} s" for name, limit in scenario.slo.targets().items())
    rows = [
        *_machines(scenario, pools),
        [
            "Traffic",
            f"{traffic_name(scenario)}, {len(result.requests):,} requests",
            "one's own file" if workload.path else workload.source,
        ],
        ["Other costs", f"{cost.name}: overhead {cost.overhead_fraction:.0%} of compute", cost.source],
        ["SLO", targets, scenario.slo.source],
    ]
    rows += [["Traffic, as read", sentence, ""] for sentence in left_out_sentences(result.left_out)]
    gpus = {pool.gpu.name: pool.gpu.price.date for pool in pools}
    warnings = [stated_price_warning(name, priced, date.today()) for name, priced in gpus.items()]
    notes = [paragraph(f"Note: {warning}.") for warning in warnings if warning]
    return table(["what", "value", "source"], rows, text=(0, 1, 2)) + NOTHING.join(notes)


def _machines(scenario: Scenario, pools: Sequence[ServedPool]) -> list[list[str]]:
    """Rows of what stands: each GPU, model, server's line and method of drafting once."""
    rows: list[list[str]] = []
    for pool in pools:
        gpu, model, spec = pool.gpu, pool.model, pool.engine.speculative
        rows += [
            ["GPU price", f"{gpu.name}: {hourly_words(gpu.price)}", f"{gpu.price.source} ({gpu.price.date})"],
            ["GPU", f"{gpu.name}, {gpu.memory_gib:g} GiB, {gpu.bandwidth_gb_s:g} GB/s", gpu.source],
            ["Model", f"{model.name}, {model.weight_dtype}", "; ".join([model.source, *model.notes])],
        ]
        if spec.drafts and spec.method is not None:
            rates = ", ".join(f"{rate:.2f}" for rate in rates_of(spec.acceptance, spec.method, spec.drafts))
            measured = spec.acceptance.source if spec.acceptance.stated else MEASURED_RATES[spec.method].source
            rows.append(["Acceptance of drafts", f"{rates} by position, {spec.acceptance.schedule}", measured or "stated"])
    lines = server_lines(scenario) if pools else {}
    started = "the command line that starts such a server"
    rows += [[server_title(lines, names), line, started] for line, names in lines.items()]
    once = [row for place, row in enumerate(rows) if row not in rows[:place]]
    order = list(dict.fromkeys(row[0] for row in once))
    return sorted(once, key=lambda row: order.index(row[0]))
