"""Conversations: prompts that grow by the answer and a new message, with think time between turns.

Turn k of a session has the prompt m_1 + a_1 + ... + a_(k-1) + m_k (messages m, answers a, in tokens) and arrives at the
session's start + sum over earlier turns of (answer tokens x ``answer_s_per_token`` + think time): an expectation of
when the answer was there, since a trace does not know the fleet that will serve it (a closed-loop client does). A
follow-up that does not resend its history opens a session of its own. Turns at or after the end of the workload are
left out unless sessions ``finish``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sim.spec.prompts import LOOKED_BACK, SessionPrompts
from sim.spec.traffic import ClientSpec, SessionSpec
from sim.workload.lengths import draw_ranks, lengths_at, output_ranks, seconds_at
from sim.workload.trace import Trace

_BELOW = 1e-9
"""Rank by which a turn that is not at the top is at least below it."""
Streams = Callable[[str], np.random.Generator]


def with_sessions(
    client: ClientSpec, sessions: SessionSpec, start_s: np.ndarray, duration_s: float, *, name: str, rng: Streams
) -> Trace:
    """The turns of the sessions that start at ``start_s``, in order of arrival."""
    turns = lengths_at(sessions.turns, rng("turns").random(len(start_s)))
    n = int(turns.sum())
    session = np.repeat(np.arange(len(start_s)), turns)
    first = np.cumsum(turns) - turns
    turn = np.arange(n) - first[session]
    if sessions.prompts is not None:
        return _whole_prompts(client, sessions, sessions.prompts, start_s, (turns, session, turn), duration_s, name, rng)
    ranks = draw_ranks(client.dependence, n, rng("lengths"))
    message = lengths_at(client.input_tokens, ranks[0])
    answer = lengths_at(client.output_tokens, ranks[1])
    if client.max_total_tokens is not None:
        message = np.minimum(message, client.max_total_tokens - 1)
    gap_s = answer * sessions.answer_s_per_token + seconds_at(sessions.think_s, rng("think").random(n))
    arrival_s = start_s[session] + _before(gap_s, first[session])
    opens = (turn == 0) | (rng("resend").random(n) >= sessions.resend_fraction)
    chain = np.cumsum(opens) - 1
    chain_first = np.flatnonzero(opens)[chain] if n else chain
    prompt = message + _before(message + answer, chain_first)
    if client.max_total_tokens is not None:
        prompt = np.minimum(prompt, client.max_total_tokens - 1)
        answer = np.minimum(answer, client.max_total_tokens - prompt)
    ids = np.array([f"{name}s{number}" for number in range(int(chain[-1]) + 1 if n else 0)], dtype=object)
    labels = {"session_id": ids[chain], "turn": np.arange(n) - chain_first + 1}
    return _in_order(Trace(arrival_s, prompt, answer, labels), sessions, duration_s)


def _whole_prompts(
    client: ClientSpec, sessions: SessionSpec, prompts: SessionPrompts, start_s: np.ndarray,
    places: tuple[np.ndarray, np.ndarray, np.ndarray], duration_s: float, name: str, rng: Streams,
) -> Trace:  # fmt: skip
    """Turns whose prompts have lengths of their own law, in the order that the session's steps give."""
    turns, session, turn = places
    n = len(turn)
    first = np.cumsum(turns) - turns
    inputs = _spread(_walk(prompts, turns, rng("lengths")))
    outputs = output_ranks(client.dependence, inputs, rng("answers"))
    gap_s = seconds_at(sessions.think_s, rng("think").random(n))
    answer = lengths_at(client.output_tokens, outputs)
    arrival_s = start_s[session] + _before(answer * sessions.answer_s_per_token + gap_s, first[session])
    prompt = lengths_at(client.input_tokens, inputs)
    if client.max_total_tokens is not None:
        prompt = np.minimum(prompt, client.max_total_tokens - 1)
        answer = np.minimum(answer, client.max_total_tokens - prompt)
    ids = np.array([f"{name}s{number}" for number in range(len(turns))], dtype=object)
    labels = {"session_id": ids[session] if n else ids, "turn": turn + 1}
    return _in_order(Trace(arrival_s, prompt, answer, labels), sessions, duration_s)


def _in_order(trace: Trace, sessions: SessionSpec, duration_s: float) -> Trace:
    order = np.argsort(trace.arrival_s, kind="stable")
    return trace.take(order if sessions.finish else order[trace.arrival_s[order] < duration_s])


def _walk(prompts: SessionPrompts, turns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ranks of all turns, session after session."""
    first = np.cumsum(turns) - turns
    ranks = np.empty(int(turns.sum()))
    extend, parts = np.asarray(prompts.extend_steps), len(prompts.extend_steps)
    alive = np.flatnonzero(turns > 0)
    now = _at(prompts, prompts.first_ranks, rng.random(len(alive)))
    recent = np.full((len(alive), LOOKED_BACK), -1.0)
    for turn in range(int(turns.max(initial=0))):
        if turn:
            kept = turns[alive] > turn
            alive, now, recent = alive[kept], now[kept], recent[kept]
            top = recent.max(axis=1)
            moves, uniform = rng.random(len(alive)), rng.random(len(alive))
            at_top = now >= top
            up = np.where(at_top, moves >= prompts.drop_probability, moves < prompts.return_probability)
            part = np.minimum((top * parts).astype(np.int64), parts - 1)
            below = np.where(at_top, top * _at(prompts, prompts.drop_ratios, uniform),
                             now + _at(prompts, prompts.below_steps, uniform))  # fmt: skip
            above = top + [_at(prompts, extend[number], place) for number, place in zip(part, uniform, strict=True)]
            now = np.clip(np.where(up, above, np.minimum(below, top - _BELOW)), 0.0, 1.0)
        recent[:, turn % LOOKED_BACK] = now
        ranks[first[alive] + turn] = now
    return ranks


def _at(prompts: SessionPrompts, law: object, ranks: Any) -> Any:
    return np.interp(ranks, prompts.probabilities, np.asarray(law))


def _spread(ranks: np.ndarray) -> np.ndarray:
    """The same order, evenly spread over (0, 1)."""
    spread = np.empty(len(ranks))
    spread[np.argsort(ranks, kind="stable")] = (np.arange(len(ranks)) + 0.5) / max(len(ranks), 1)
    return spread


def _before(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """For each entry the sum of ``values`` from index ``first`` of its group up to the entry before it."""
    total = np.concatenate([np.zeros(1, dtype=values.dtype), np.cumsum(values)])
    before: np.ndarray = total[:-1] - total[first]
    return before
