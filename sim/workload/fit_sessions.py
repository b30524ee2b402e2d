"""What a trace's sessions tell: turns, think times, and either messages or how whole prompts follow each other."""

from __future__ import annotations

import numpy as np

from sim.spec.prompts import LOOKED_BACK, SessionPrompts
from sim.spec.traffic import SessionSpec
from sim.workload.fit_lengths import PROBABILITIES, fit_lengths, fit_seconds
from sim.workload.trace import Trace

_ANSWER_S_PER_TOKEN = 0.02
_WELL_BEFORE = 0.9
_PARTS = 4
"""Parts of ranks, for each of which an extension has a law of its own."""


def follow_ups(trace: Trace) -> np.ndarray | None:
    """Mask of the turns after a session's first; None where no session has a second."""
    sessions = trace.labels.get("session_id")
    if sessions is None:
        return None
    _, first = np.unique(sessions.astype(str), return_index=True)
    mask: np.ndarray = sessions != ""
    mask[first] = False
    return mask if mask.any() else None


def turn_pairs(trace: Trace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of later turns, of the turns before them, and the number of turns of each session.

    A request without a session is a session of one turn.
    """
    sessions = trace.labels["session_id"].astype(str)
    names = np.where(sessions == "", np.char.add("\x00", np.arange(len(trace)).astype(str)), sessions)
    _, place, turns = np.unique(names, return_inverse=True, return_counts=True)
    order = np.lexsort((np.arange(len(trace)), place))
    later, earlier = order[1:], order[:-1]
    same = place[later] == place[earlier]
    return later[same], earlier[same], turns


def opens_until_s(opening_s: np.ndarray, duration_s: float) -> float | None:
    """The time up to which sessions begin, where that is well before the trace's end: they are all there to their last
    turn then. None where sessions begin to the end."""
    until_s = float(opening_s[-1]) * (1.0 + 1.0 / max(len(opening_s) - 1, 1))
    return until_s if 0 < until_s < _WELL_BEFORE * duration_s else None


def fit_sessions(trace: Trace, whole_prompts: bool, finish: bool) -> tuple[SessionSpec, np.ndarray]:
    """The session law, and what the input lengths are of every request: whole prompts, or messages."""
    later, earlier, turns = turn_pairs(trace)
    gap_s = trace.arrival_s[later] - trace.arrival_s[earlier]
    think_s = np.maximum(gap_s - trace.output_tokens[earlier] * _ANSWER_S_PER_TOKEN, 1e-3)
    inputs = trace.input_tokens.copy()
    prompts = None
    if whole_prompts:
        prompts = _fit_prompts(trace)
    else:
        grown = trace.input_tokens[later] - trace.input_tokens[earlier] - trace.output_tokens[earlier]
        inputs[later] = np.maximum(grown, 1)
    spec = SessionSpec(
        turns=fit_lengths(turns), think_s=fit_seconds(think_s), answer_s_per_token=_ANSWER_S_PER_TOKEN, prompts=prompts,
        finish=finish,
    )  # fmt: skip
    return spec, inputs


def _fit_prompts(trace: Trace) -> SessionPrompts:
    n = len(trace)
    ranks = np.empty(n)
    ranks[np.argsort(trace.input_tokens, kind="stable")] = (np.arange(n) + 0.5) / n
    firsts, drops, belows = [], [], []
    extends: list[list[float]] = [[] for _ in range(_PARTS)]
    at_top = dropped = below = returned = 0
    recent: dict[str, list[float]] = {}
    sessions = trace.labels["session_id"].tolist()
    for session, rank in zip(sessions, ranks.tolist(), strict=True):
        turns = recent.setdefault(session, []) if session else []
        if not turns:
            firsts.append(rank)
        else:
            top, before = max(turns), turns[-1]
            was_top, extended = before >= top, rank >= top
            at_top, dropped = at_top + was_top, dropped + (was_top and not extended)
            below, returned = below + (not was_top), returned + (not was_top and extended)
            if extended:
                extends[min(int(top * _PARTS), _PARTS - 1)].append(rank - top)
            elif was_top:
                drops.append(rank / top)
            else:
                belows.append(rank - before)
        turns.append(rank)
        del turns[:-LOOKED_BACK]
    every = [step for steps in extends for step in steps]
    return SessionPrompts(
        probabilities=PROBABILITIES, first_ranks=_quantiles(firsts), drop_probability=dropped / max(at_top, 1),
        drop_ratios=_quantiles(drops), return_probability=returned / max(below, 1), below_steps=_quantiles(belows),
        extend_steps=tuple(_quantiles(steps or every) for steps in extends),
    )  # fmt: skip


def _quantiles(values: list[float]) -> tuple[float, ...]:
    """Quantiles; zeros where nothing was seen (then nothing draws from them)."""
    found: list[float] = np.quantile(values or [0.0], PROBABILITIES).round(5).tolist()
    return tuple(found)
