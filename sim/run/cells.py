"""A fleet in cells: each a gateway and a share of the fleet of its own, run apart, merged exactly.

    cell of a request     hash of its session or label (``fleet.cells_by``) modulo cells; without one, of its number
    cell's share          of a pool of n servers n // cells, and one more in the first n % cells; limits of an autoscaler,
                          headroom and sleepers likewise
    cell's seed           drawn from the scenario's seed and the cell's number

Cells run as tasks of a Ray cluster where the process belongs to one (a job of ``hydra/launcher=ray``, a notebook after
``ray.init``), else as processes, as many as there are cores, or as ``joblib.parallel_config`` says. They share nothing, so
neither where nor on how many workers they run changes a byte.

Merged: requests in order of arrival, servers (``main-3.17``: the 18th of cell 3), events by time, gaps between tokens,
tokens and money. Every machine stands to the end of the whole run. In the time series ``kv_used`` and ``kv_pinned`` are
means by ready servers, exact where these are alike.

What cells cannot share, and a scenario therefore must not ask: users that wait for answers, batch work in idle capacity, a
budget of GPUs, a pool of another size or a single loss at some time (``timeline``). Prefix caches, answers kept, limits and
retry budgets are each cell's own.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import joblib
import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from sim.engine.gaps import GROWTH, SMALLEST_S
from sim.errors import ConfigError
from sim.plugins import Policies
from sim.record import ItlHistogram, Result
from sim.run.cell import simulate_cell
from sim.run.sampler import on_grid, with_rolling_p95s
from sim.spec import PoolSpec, Scenario
from sim.spec.timeline import PoolSize, ReplicaLoss
from sim.workload import Trace

_MEANS = ("kv_used", "kv_pinned", "batch", "acceptance_length", "kv_host_used")
"""Columns of the time series that are means; the others are sums."""


def simulate_cells(scenario: Scenario, trace: Trace, every_s: float, policies: Policies | None) -> Result:
    """``simulate`` for a fleet in several cells.

    Raises:
        ConfigError: something is asked that cells cannot share, or a pool has fewer servers than there are cells.
    """
    _check(scenario)
    cells = scenario.fleet.cells
    wall_s = time.perf_counter()
    cell = cell_of_requests(scenario, trace)
    rows = [np.flatnonzero(cell == number) for number in range(cells)]
    asked = ((cell_scenario(scenario, number), trace.take(rows[number])) for number in range(cells))
    parts = _on_workers(asked, cells, every_s, policies)
    merged = merge(scenario, parts, rows)
    inputs = dict(trace.provenance.get("files", {}))
    return replace(merged, wall_s=time.perf_counter() - wall_s, left_out=trace.left_out(), inputs=inputs)


def _on_workers(
    asked: Iterable[tuple[Scenario, Trace]], cells: int, every_s: float, policies: Policies | None
) -> list[Result]:
    """The result of each cell."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        task = ray.remote(simulate_cell)
        found: list[Result] = ray.get([task.remote(*cell, every_s, policies=policies) for cell in asked])
        return found
    parallel = joblib.Parallel(n_jobs=min(cells, joblib.cpu_count()))
    return list(parallel(joblib.delayed(simulate_cell)(*cell, every_s, policies=policies) for cell in asked))


def cell_of_requests(scenario: Scenario, trace: Trace) -> np.ndarray:
    """The cell of each request."""
    cells, by = scenario.fleet.cells, scenario.fleet.cells_by
    cell = _mixed(np.arange(len(trace), dtype=np.uint64)) % np.uint64(cells)
    labels = trace.labels.get("session_id" if by == "session" else by)
    if labels is None:
        if by != "session":
            raise ConfigError(f"fleet.cells_by: {by} is no column of the trace, which decides the cell of its requests")
        return cell.astype(np.int64)
    names, code = np.unique(labels.astype(str), return_inverse=True)
    hashed = np.array([int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % cells for name in names])
    labelled = names[code] != ""
    return np.where(labelled, hashed[code], cell.astype(np.int64))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """64 evenly distributed bits of each (the finaliser of SplitMix64; Steele, Lea, Flood 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def cell_scenario(scenario: Scenario, number: int) -> Scenario:
    """What cell ``number`` is asked."""
    fleet = scenario.fleet
    pools = {name: _share(pool, number, fleet.cells) for name, pool in fleet.all_pools().items()}
    seed = int(np.random.SeedSequence((scenario.seed, number)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    shared = fleet.kv_store
    store = replace(shared, size_gib=shared.size_gib / fleet.cells, gb_s=shared.gb_s / fleet.cells)
    return replace(scenario, fleet=replace(fleet, cells=1, pools=pools, kv_store=store), seed=seed)


def _share(pool: PoolSpec, number: int, cells: int) -> PoolSpec:
    def of(servers: int) -> int:
        return servers // cells + (number < servers % cells)

    return replace(
        pool, replicas=of(pool.replicas), headroom_replicas=of(pool.headroom_replicas), warm_replicas=of(pool.warm_replicas),
        min_replicas=of(pool.min_replicas), max_replicas=max(of(pool.min_replicas), of(pool.max_replicas)),
    )  # fmt: skip


def _check(scenario: Scenario) -> None:
    fleet, cells = scenario.fleet, scenario.fleet.cells
    for name, pool in fleet.all_pools().items():
        key = f"fleet.pools.{name}.replicas" if fleet.pools else "fleet.replicas"
        if pool.replicas < cells and not (pool.replicas == 0 and (scenario.scales(pool) or scenario.gateway.apis)):
            raise ConfigError(
                f"fleet.cells: every cell needs a server of each pool, but got {cells} cells and {key}={pool.replicas}"
            )
    asked = {
        "gateway.users": scenario.gateway.users.kind != "open",
        "fleet.background": fleet.background is not None,
        "fleet.gpu_budget": fleet.gpu_budget is not None,
        "timeline (pool_size, replica_loss)": any(isinstance(one, PoolSize | ReplicaLoss) for one in scenario.timeline),
    }
    shared = [key for key, is_asked in asked.items() if is_asked]
    if shared:
        raise ConfigError(f"fleet.cells: {cells} cells share nothing, but {', '.join(shared)} would be shared by them")


# -- merging -----------------------------------------------------------------------------------------------------------


def merge(scenario: Scenario, parts: Sequence[Result], rows: Sequence[np.ndarray]) -> Result:
    """The result of the fleet whose cells brought ``parts``; ``rows``: the requests that each had."""
    end_s = max(part.end_s for part in parts)
    requests = _requests(parts, rows)
    told = [(number, event) for number, part in enumerate(parts) for event in part.events]
    return Result(
        scenario=scenario,
        requests=requests,
        replicas=_joined([_to_the_end(part, end_s, number) for number, part in enumerate(parts)]),
        timeseries=with_rolling_p95s(_timeseries(parts), requests) if scenario.output.timeseries else parts[0].timeseries,
        events=sorted(
            ({**_renamed_event(event, number), "cell": number} for number, event in told),
            key=lambda event: (event["time_s"], event["cell"]),
        ),
        itl=_gaps(parts),
        end_s=end_s,
        last_arrival_s=max(part.last_arrival_s for part in parts),
        engine_steps=sum(part.engine_steps for part in parts),
        kernel_events=sum(part.kernel_events for part in parts),
        wall_s=0.0,
        cpu_s=math.fsum(part.cpu_s for part in parts),
        ranks=_beside(parts, "ranks"),
        tiers=_beside(parts, "tiers"),
        features=_beside(parts, "features"),
        steps=_beside(parts, "steps"),
        gateway=_sums([part.gateway for part in parts]),
        api_bill_usd={name: _sums([part.api_bill_usd[name] for part in parts]) for name in parts[0].api_bill_usd},
        work=_work(parts, rows),
    )


def _name(name: str, cell: int) -> str:
    """``main-17`` of cell 3 is ``main-3.17``."""
    pool, _, index = name.rpartition("-")
    return f"{pool}-{cell}.{index}"


def _requests(parts: Sequence[Result], rows: Sequence[np.ndarray]) -> pd.DataFrame:
    frames = []
    for number, (part, mine) in enumerate(zip(parts, rows, strict=True)):
        frame = part.requests.copy(deep=False)
        for column in ("replica", "prefill_replica"):
            categories = [_name(str(name), number) for name in frame[column].cat.categories]
            frame[column] = frame[column].cat.rename_categories(categories)
        frame["request_id"] = mine[frame["request_id"].to_numpy()]
        frames.append(frame)
    ids = np.concatenate([frame["request_id"].to_numpy() for frame in frames])
    return _joined(frames, np.argsort(ids, kind="stable"))


def _joined(frames: Sequence[pd.DataFrame], order: np.ndarray | slice = slice(None)) -> pd.DataFrame:
    """``frames`` one below another, rows put in ``order``, categories united: a column at a time, so that nothing is there
    three times."""
    columns = {}
    for name in frames[0]:
        parts = [frame[name] for frame in frames]
        categorical = isinstance(parts[0].dtype, pd.CategoricalDtype)
        whole = union_categoricals(parts) if categorical else np.concatenate([part.to_numpy() for part in parts])
        columns[name] = whole[order]
    return pd.DataFrame(columns, copy=False)


def _to_the_end(part: Result, end_s: float, cell: int) -> pd.DataFrame:
    """The servers of a cell, those that were up at its end up to that of the whole run."""
    frame = part.replicas.copy()
    frame["replica"] = [_name(str(name), cell) for name in frame["replica"]]
    stopped = frame["stopped_s"].to_numpy(dtype=float)
    billed = frame["billed_stop_s"].to_numpy(dtype=float)
    up, paid = stopped >= part.end_s, (billed >= part.end_s) & (stopped >= part.end_s)
    frame["stopped_s"] = np.where(up, end_s, stopped)
    frame["billed_stop_s"] = np.where(paid, end_s, billed)
    waiting = paid & np.isfinite(frame["ready_s"].to_numpy(dtype=float))
    frame["idle_s"] = frame["idle_s"].to_numpy(dtype=float) + np.where(waiting, end_s - part.end_s, 0.0)
    frame["starting_s"] = frame["starting_s"].to_numpy(dtype=float) + np.where(paid & ~waiting, end_s - part.end_s, 0.0)
    return frame


def _beside(parts: Sequence[Result], table: str) -> pd.DataFrame | None:
    frames = []
    for number, part in enumerate(parts):
        found: pd.DataFrame | None = getattr(part, table)
        if found is not None:
            names = [_name(str(name), number) if name else "" for name in found["replica"]]  # a cell's store is nobody's
            frames.append(found.assign(replica=names))
    return pd.concat(frames, ignore_index=True) if frames else None


def _timeseries(parts: Sequence[Result]) -> pd.DataFrame:
    """Sums and means on the coarsest of the cells' grids; a cell that is done stays as its last row left it, and idle."""
    every_s = max((part.timeseries["time_s"].iloc[0] for part in parts if len(part.timeseries)), default=1.0)
    frames = [on_grid(part.timeseries, every_s) for part in parts]
    longest = max(frames, key=len)
    n, made = len(longest), ("time_s", "ttft_p95_s", "e2e_p95_s", "watts")
    columns = [str(name) for name in longest if name not in made]
    padded = []
    for part, frame in zip(parts, frames, strict=True):
        series = frame[columns].to_numpy(dtype=float)
        still = series[-1] if len(series) else np.zeros(len(columns))
        last = np.where([name.startswith("replicas_") or name == "usd_per_hour" for name in columns], still, 0.0)
        rest = np.tile(last, (n - len(series), 1))
        if len(rest):  # what came after the last look at the cell
            place = columns.index("arrivals")
            rest[0, place] = len(part.requests) - series[:, place].sum()
        padded.append(np.concatenate([series, rest]))
    stacked = np.stack(padded)
    ready = stacked[:, :, columns.index("replicas_ready")]
    merged: dict[str, np.ndarray] = {"time_s": longest["time_s"].to_numpy()}
    for place, name in enumerate(columns):
        values = stacked[:, :, place]
        if name in _MEANS:
            weights = np.where(np.isfinite(values), ready, 0.0)
            with np.errstate(invalid="ignore", divide="ignore"):
                merged[name] = np.where(np.isfinite(values), values * weights, 0.0).sum(axis=0) / weights.sum(axis=0)
        else:
            merged[name] = values.sum(axis=0).astype(longest[name].dtype)
    return pd.DataFrame(merged).reindex(columns=list(longest))


def _renamed_event(event: Mapping[str, Any], cell: int) -> dict[str, Any]:
    return {**event, "replica": _name(str(event["replica"]), cell)} if event.get("replica") else dict(event)


def _gaps(parts: Sequence[Result]) -> ItlHistogram:
    parts = [part for part in parts if part.itl.counts.any()] or parts[:1]
    firsts = [round(math.log(part.itl.edges_s[0] / SMALLEST_S) / math.log(GROWTH)) for part in parts]
    low = min(firsts)
    high = max(first + len(part.itl.counts) for first, part in zip(firsts, parts, strict=True))
    counts = np.zeros(high - low, dtype=np.int64)
    for first, part in zip(firsts, parts, strict=True):
        counts[first - low : first - low + len(part.itl.counts)] += part.itl.counts
    return ItlHistogram(SMALLEST_S * GROWTH ** np.arange(low, high + 1, dtype=float), counts)


def _sums(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: math.fsum(part.get(name, 0.0) for part in parts) for name in names}


def _work(parts: Sequence[Result], rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    requests = sum(len(mine) for mine in rows)
    work: dict[str, np.ndarray] = {}
    for part, mine in zip(parts, rows, strict=True):
        for pool, tokens in part.work.items():
            work.setdefault(pool, np.zeros((2, requests), dtype=np.int64))[:, mine] = tokens
    return work
