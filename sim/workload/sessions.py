"""Conversations: prompts that grow by the answer and a new message, with think time between turns.

Turn k of a session has the prompt m_1 + a_1 + ... + a_(k-1) + m_k (messages m, answers a, in tokens) and arrives at the
session's start + sum over earlier turns of (answer tokens x ``answer_s_per_token`` + think time): an expectation of
when the answer was there, since a trace does not know the fleet that will serve it (a closed-loop client does). A
follow-up that does not resend its history opens a session of its own. Turns at or after the end of the workload are
left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.spec.traffic import ClientSpec, SessionSpec
from sim.workload.lengths import draw_ranks, lengths_at, seconds_at
from sim.workload.trace import Trace

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
    order = np.argsort(arrival_s, kind="stable")
    return Trace(arrival_s, prompt, answer, labels).take(order[arrival_s[order] < duration_s])


def _before(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """For each entry the sum of ``values`` from index ``first`` of its group up to the entry before it."""
    total = np.concatenate([np.zeros(1, dtype=values.dtype), np.cumsum(values)])
    before: np.ndarray = total[:-1] - total[first]
    return before
