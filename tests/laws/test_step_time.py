"""Laws of every step-time model: the decode line is the step, more work is never faster, floors are never undercut."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.perf import TabulatedStepTime, resolve_engine, step_time_model
from sim.perf.floors import decode_floor_s_per_token, nonattention_floor_s, pair_floor_s
from sim.spec import EngineSpec
from tests.presets import gpu, model

CASES = [
    # model, gpu, TP, PP, async, step_time
    ("llama3_8b", "l40s", 1, 1, True, "auto"),
    ("llama3_8b", "l40s", 1, 1, False, "roofline"),
    ("llama3_70b", "h100", 4, 1, True, "auto"),
    ("llama3_70b", "h100", 2, 2, False, "auto"),
    ("mixtral_8x7b", "h100", 2, 1, True, "auto"),
    ("gemma3_12b", "h100", 1, 1, True, "auto"),
    ("deepseek_v3", "h200", 8, 1, True, "auto"),
    ("llama3_8b", "rtx4090", 1, 1, True, "auto"),
    ("llama2_7b", "mi300x", 1, 1, True, "auto"),
]


@cache
def stepper(case: tuple[str, str, int, int, bool, str]) -> tuple[TabulatedStepTime, EngineSpec]:
    name, device, tensor, pipeline, hidden, kind = case
    spec = EngineSpec(tensor_parallel_size=tensor, pipeline_parallel_size=pipeline, async_scheduling=hidden, step_time=kind)
    engine = resolve_engine(spec, model(name), gpu(device))
    return step_time_model(model(name), gpu(device), engine), engine


case = st.sampled_from(CASES)
chunks = st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 100_000)), min_size=0, max_size=4)


@settings(max_examples=200, deadline=None)
@given(case, st.integers(1, 1024), st.integers(1, 200_000))
def test_the_decode_line_is_the_step_on_its_whole_piece(c: tuple, n: int, mean: int) -> None:
    time, _ = stepper(c)
    context = n * mean
    line = time.decode_line(n, context)
    assert context <= line.last_context
    for at in (context, min(line.last_context, context * 1.5)):
        assert time.step((), n, int(at)) == pytest.approx(line.intercept + line.slope * int(at), rel=1e-12)


@settings(max_examples=200, deadline=None)
@given(case, chunks, st.integers(0, 1024), st.integers(0, 10_000), st.tuples(st.integers(1, 512), st.integers(1, 5000)))
def test_more_work_is_never_faster(c: tuple, prefills: list, n: int, mean: int, more: tuple[int, int]) -> None:
    more_new, more_context = more
    time, _ = stepper(c)
    if not prefills and not n:
        return
    base = time.step(prefills, n, n * mean)
    assert base > 0
    assert time.step(prefills, n, n * mean + (more_context if n else 0)) >= base * (1 - 1e-12)
    if prefills:
        (new, before), *rest = prefills
        assert time.step([(new, before + more_context), *rest], n, n * mean) >= base * (1 - 1e-12)
        # beyond the largest graph a batch runs unpadded, and pair efficiency rises with the chunk: compare doublings
        assert time.step([(2 * new + more_new, before), *rest], n, n * mean) >= base * (1 - 1e-12)


@settings(max_examples=200, deadline=None)
@given(case, chunks, st.integers(0, 1024), st.integers(0, 100_000))
def test_floors_are_never_undercut(c: tuple, prefills: list, n: int, mean: int) -> None:
    time, engine = stepper(c)
    if not prefills and not n:
        return
    name, device = c[0], c[1]
    m, g = model(name), gpu(device)
    gpus = engine.tensor_parallel_size * engine.pipeline_parallel_size
    tokens = n + sum(new for new, _ in prefills)
    pairs = sum(new * (before + (new + 1) / 2) for new, before in prefills)
    compute = nonattention_floor_s(m, g, gpus, tokens) + pairs * pair_floor_s(m, g, engine) / engine.pipeline_parallel_size
    # interpolation between knots may cut the corner of the floor's own kink: a tenth of a per cent
    assert time.step(prefills, n, n * mean) >= 0.999 * compute
    if not prefills and engine.pipeline_parallel_size == 1:
        memory = nonattention_floor_s(m, g, gpus, n) + n * mean * decode_floor_s_per_token(m, g, engine)
        assert time.step((), n, n * mean) >= 0.999 * memory


@pytest.mark.parametrize(
    ("c", "regime"),
    [(CASES[0], "interpolated"), (CASES[1], "extrapolated"), (CASES[8], "uncalibrated")],
)
def test_every_model_says_how_far_to_trust_it(c: tuple, regime: str) -> None:
    time, _ = stepper(c)
    assert time.regime == regime
    assert c[1] in time.source
