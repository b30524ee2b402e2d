"""The claims that have an experiment of their own: rows made from its committed ``results.csv``, nothing is run.

    python experiments/claims/recorded.py      # after such an experiment ran again: its rows in results.csv and README.md

Intervals stand where the experiment has them; the others are one seed and one trace, and their READMEs say so.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from table import Row, leave_rows, read_rows

EXPERIMENTS = Path(__file__).parents[1]


def cases(experiment: str, *keys: str) -> dict[tuple[str, ...], dict[str, str]]:
    """The committed results of ``experiment`` by the values of their ``keys`` columns (``case`` by default)."""
    with (EXPERIMENTS / experiment / "results.csv").open(encoding="utf-8", newline="") as file:
        return {tuple(row[key] for key in keys or ("case",)): row for row in csv.DictReader(file)}


def number(row: dict[str, str], column: str) -> float:
    return float(row[column])


def run_by(experiment: str) -> str:
    return f"python experiments/{experiment}/run.py"


def spot() -> Row:
    table = cases("spot_share")
    none, half, all_of_it = (table[f"{share}% spot, notice 120 s",] for share in (0, 50, 100))
    saved = 1 - number(all_of_it, "usd_per_1m_output_tokens") / number(none, "usd_per_1m_output_tokens")
    hurt = number(half, "goodput_pct") > 99 > number(all_of_it, "goodput_pct")
    return (
        "spot preemption breaks service",
        "conditional" if hurt else "refuted",
        f"goodput {number(none, 'goodput_pct'):.1f} % with none on spot, {number(half, 'goodput_pct'):.1f} % with half, "
        f"{number(all_of_it, 'goodput_pct'):.1f} % with all (which saves {saved:.0%} per 1M tokens), on recorded zones, "
        "with 120 s of notice, on-demand stand-ins and slack in the fleet",
        run_by("spot_share"),
    )


def nvlink_group() -> Row:
    table = cases("h100_loss")
    whole, split = table["1 x TP8, one GPU dies",], table["4 x TP2, one GPU dies",]
    return (
        "a lost GPU breaks its NVLink group",
        "reproduced" if number(whole, "goodput_pct") < 90 < number(split, "goodput_pct") else "refuted",
        f"70B on eight H100, one dies: goodput {number(whole, 'goodput_pct'):.1f} % with one TP8 (down for "
        f"{number(whole, 'back_after_s'):.0f} s), {number(split, 'goodput_pct'):.1f} % with four TP2",
        run_by("h100_loss"),
    )


def context_flag() -> Row:
    table = cases("context_flag")
    off, double = table["flag off",], table["context x 2",]
    return (
        "a feature flag that lengthens context brings OOM or preemption",
        "reproduced" if number(double, "preemptions") > number(off, "preemptions") else "refuted",
        f"prompts twice as long: {number(off, 'preemptions'):.0f} to {number(double, 'preemptions'):.0f} preemptions, goodput "
        f"{number(off, 'goodput_pct'):.0f} to {number(double, 'goodput_pct'):.0f} %, {double['verdict']}; no OOM, as the "
        "engine preempts first",
        run_by("context_flag"),
    )


def watch() -> Row:
    double = cases("context_flag")["context x 2",]
    alarms = ("tokens in flight above 1.5x", "waiting above 5", "KV above 90 %", "TTFT p95 above 2 s", "arrivals a second above 1.5x")
    return (
        "watch per-prompt cost, tok/s, batch depth, KV memory, p95 by route",
        "conditional",
        "after a flag doubles the context the alarms ring: "
        + ", ".join(f"{alarm} {double[alarm]}" for alarm in alarms)
        + ": KV and queue early, p95 late, tokens in flight first though it is not on the list",
        run_by("context_flag"),
    )


def autoscaling() -> Row:
    table = cases("autoscaling_signals", "traffic", "case")
    found, ahead = [], []
    for traffic in ("bursts of ten minutes", "Azure 2023 code"):
        tokens, qps, static = (table[traffic, case] for case in ("tokens in flight", "QPS", "static at the peak"))
        low, high = number(tokens, "over_qps_low"), number(tokens, "over_qps_high")
        ahead.append(low > 0)
        found.append(
            f"{traffic}: goodput {number(tokens, 'goodput_pct'):.0f} % at ${number(tokens, 'usd'):.1f} against "
            f"{number(qps, 'goodput_pct'):.0f} % at ${number(qps, 'usd'):.1f} ({low:+.0f} to {high:+.0f} points), static peak {number(static, 'goodput_pct'):.0f} % at "
            f"${number(static, 'usd'):.1f}"
        )
    return (
        "autoscale on tokens in flight, not QPS",
        "reproduced" if all(ahead) else "conditional" if any(ahead) else "refuted",
        "; ".join(found) + " (95 % intervals, paired seeds; cold starts of four minutes, targets equal at the reference load)",
        run_by("autoscaling_signals"),
    )


def nights() -> Row:
    table = cases("night_backfill")
    idle, filled = table["nights idle",], table["backfill, abort to yield",]
    before, after = number(idle, "usd_per_1m_with_batch"), number(filled, "usd_per_1m_with_batch")
    return (
        "nights stand idle unless batch work fills them",
        "reproduced" if after < 0.95 * before else "refuted",
        f"${before:.2f} to ${after:.2f} per 1M output tokens ({1 - after / before:.0%} less), all "
        f"{number(filled, 'tasks_done'):,.0f} tasks done, TTFT p95 {number(idle, 'ttft_p95_s'):.2f} to "
        f"{number(filled, 'ttft_p95_s'):.2f} s; GPU busy does not show it ({number(idle, 'gpu_busy_pct'):.0f} to "
        f"{number(filled, 'gpu_busy_pct'):.0f} %)",
        run_by("night_backfill"),
    )


def safety() -> Row:
    table = cases("safety_passes", "passes", "overhead_pct")
    base = number(table["prompt", "0.0"], "usd_per_1m_output_tokens")
    low, high = (
        number(table[row], "usd_per_1m_output_tokens") / base - 1 for row in (("prompt", "5.0"), ("prompt and answer", "20.0"))
    )
    wait = [number(table[row], "ttft_p95_s") for row in (("prompt", "0.0"), ("prompt", "5.0"), ("prompt and answer", "5.0"))]
    return (
        "hidden costs: safety classification is 5-20 % of the tokens",
        "conditional",
        f"5 % on prompts to 20 % on prompts and answers cost {low:.0%} to {high:.0%} per output token, less than their share; "
        f"the price is TTFT p95: {wait[0]:.2f} s, {wait[1]:.2f} s with prompts read first, {wait[2]:.1f} s with answers too",
        run_by("safety_passes"),
    )


def insurance() -> Row:
    table = cases("autoscaling_signals", "traffic", "case")
    shares = {}
    for traffic in ("bursts of ten minutes", "Azure 2023 code"):
        static, perfect = number(table[traffic, "static at the peak"], "usd"), table[traffic, "perfect"]
        ends = (1 - number(perfect, column) / static for column in ("usd", "usd_high", "usd_low"))
        shares[traffic] = "{:.0%} ({:.0%} to {:.0%})".format(*ends)
    return (
        "hidden costs: capacity insurance, idle headroom for p95",
        "reproduced",
        "share of the static peak's bill that a fleet which knows the demand would not pay: "
        + ", ".join(f"{traffic} {share}" for traffic, share in shares.items()),
        run_by("autoscaling_signals"),
    )


def retries() -> Row:
    table = cases("retry_storm")
    without, storm = table["no retries",], table["retries",]
    return (
        "retry storms on gateway timeouts double tokens with nothing to show",
        "reproduced" if number(storm, "wasted_pct_of_sampled") > 50 else "refuted",
        f"{number(storm, 'wasted_pct_of_sampled'):.0f} % of the sampled tokens reach nobody "
        f"({number(without, 'wasted_pct_of_sampled'):.0f} % without retries), {number(storm, 'attempts_per_request'):.1f} attempts "
        f"a request, {number(storm, 'answered_pct'):.0f} % answered; a retry budget or shedding ends it",
        run_by("retry_storm"),
    )


def hybrid() -> Row:
    part_local = [
        row for row in cases("hybrid", "requests_per_s", "api", "local_pct").values() if 0 < number(row, "local_pct") < 100
    ]
    saved = sorted(-number(row, "against_all_api_pct") for row in part_local if number(row, "requests_per_s") >= 8)
    quiet = max(number(row, "against_all_api_pct") for row in part_local)
    return (
        "hybrid with 60-80 % local cuts blended cost 30-60 %",
        "conditional",
        f"from 8 requests/s on {saved[0]:.0f}-{saved[-1]:.0f} % under all-API; at 0.5 requests/s up to {quiet:.0f} % dearer, as one "
        "replica idles; not against an API that sells the same 8B",
        run_by("hybrid"),
    )


def in_front() -> Row:
    ratios = [
        number(row, "sglang_ratio") for row in cases("routing", "shared", "cache_tokens_a_replica").values()
        if row["shared"] == "4,000 tokens"
    ]  # fmt: skip
    return (
        "in front: cached system prompts",
        "conditional",
        f"prefix affinity over 16 replicas: {min(ratios):.1f} to {max(ratios):.1f} times round robin's throughput with 4,000 "
        "of 4,200 prompt tokens shared, 1.0 with 1,000 or none; dedupe, budget caps and small-model-first are not tested here",
        run_by("routing"),
    )


def upgrade() -> Row:
    table = cases("upgrade_day")
    same, heavier, grown = (table[case,] for case in ("same model, one at a time", "14B instead of 8B", "14B, fleet doubled with it"))
    return (
        "model-upgrade day",
        "conditional",
        f"a rolling deploy of the same model leaves goodput at {number(same, 'goodput_pct'):.1f} % and costs "
        f"{number(same, 'usd_per_1m_times') - 1:.0%}; a 14B on the fleet of the 8B: {number(heavier, 'goodput_low'):.0f} to "
        f"{number(heavier, 'goodput_high'):.0f} %; with twice the replicas {number(grown, 'goodput_low'):.1f} to "
        f"{number(grown, 'goodput_high'):.1f} % at {number(grown, 'times_low'):.2f} to {number(grown, 'times_high'):.2f} times the "
        "dollars per token",
        run_by("upgrade_day"),
    )


def people_and_the_rest() -> Row:
    table = cases("hidden_costs", "output_tokens_per_day", "assumed")

    def share(volume: str, assumed: str, *parts: str) -> float:
        row = table[volume, assumed]
        return sum(number(row, f"{part}_usd") for part in parts) / number(row, "usd_per_month")

    small, big = "10000000.0", "200000000.0"
    minor = ("evaluation_and_batch", "storage_of_traces_and_logs", "egress")
    return (
        "hidden costs: 1-2 engineers, eval runs, logging and storage, egress",
        "reproduced",
        f"engineers are {share(big, 'low', 'engineering'):.0%} to {share(big, 'high', 'engineering'):.0%} of the bill at 200M output "
        f"tokens a day and {share(small, 'low', 'engineering'):.0%} to {share(small, 'high', 'engineering'):.0%} at 10M; eval runs, "
        f"logs and egress together {share(big, 'low', *minor):.1%} to {share(big, 'high', *minor):.1%} at 200M (low and high "
        "assumptions)",
        run_by("hidden_costs"),
    )


def front_door() -> Row:
    table = cases("front_door")

    def saved(case: str) -> str:
        row = table[case,]
        return f"{number(row, 'saved_pct'):.0f} % ({number(row, 'saved_low'):.0f} to {number(row, 'saved_high'):.0f})"

    cap = table["budget cap on one tenant",]
    return (
        "in front: request dedupe, budget caps, per-feature cost attribution",
        "conditional",
        f"with a fifth of the prompts repeated dedupe spares {saved('dedupe')} of the tokens, a response cache "
        f"{saved('response cache')}; a cap refuses {number(cap, 'refused_pct'):.0f} % of the requests; reports, a tenth of the "
        f"requests, are {saved('feature report: 10% of the requests')} of the busy dollars. Dollars fall only once a replica is given back",
        run_by("front_door"),
    )


def small_first() -> Row:
    first = cases("front_door")["small model first",]
    return (
        "in front: a simple router, small model first",
        "reproduced",
        f"8B first, the uncertain quarter on to a 70B: {number(first, 'saved_pct'):.0f} % ({number(first, 'saved_low'):.1f} to "
        f"{number(first, 'saved_high'):.1f}) of the busy dollars saved against everything on the 70B, TTFT p95 "
        f"{number(first, 'ttft_p95_s'):.2f} s",
        run_by("front_door"),
    )


def recorded_rows() -> list[Row]:
    """One row a claim, in the order in which the claims are usually made."""
    return [
        retries(), spot(), nvlink_group(), context_flag(), upgrade(), nights(), autoscaling(), hybrid(), safety(), insurance(),
        people_and_the_rest(), front_door(), in_front(), small_first(), watch(),
    ]  # fmt: skip


def main() -> int:
    made = {row[0]: row for row in recorded_rows()}
    leave_rows([*(row for row in read_rows() if row[0] not in made), *made.values()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
