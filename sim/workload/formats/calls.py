"""Calls of a model as observability tools log them, each once.

One call can stand in a log several times: the client's span and the server's beneath it, a framework's span around the
span of the call, an exporter that wrote every span twice, two instrumentations with one response id. What reached the
GPU is the innermost: of spans of one line of descent the last counts. Of equal ones (same parent, moments, model and
tokens; or one response id with the same tokens, or at the same time) the first counts. What is left out is counted by
reason. Sisters that differ by less than a millisecond may be either: they count, and are told.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sim.workload.formats.documents import flattened, mapping_of
from sim.workload.formats.records import Record, as_number
from sim.workload.rows import Reading

_MOST_DEEP = 1000
_AT_ONCE_S = 1e-3
_THERE_ALREADY = "span of a call that is there already"
_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxTokens", "maxOutputTokens", "body.max_tokens")


@dataclass(slots=True)
class Call:
    """A span: a call where it has tokens, else a link between calls."""

    row: int
    span: str = ""
    parent: str = ""
    trace: str = ""
    start_s: float = float("nan")
    end_s: float = float("nan")
    input_tokens: Any = None
    """None: no call of a model."""
    output_tokens: Any = None
    labels: dict[str, Any] = field(default_factory=dict)
    response: str = ""
    failed: bool = False
    cause: str = ""
    """Why this is no load, where its format says so; empty: it is one."""


@dataclass
class Before:
    """What is known of the spans of earlier files: exporters rotate their files, and services write their own."""

    names: set[tuple[Any, ...]] = field(default_factory=set)
    """Of the calls that counted, what another span of the same call would have in common with them."""
    answered: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """When the calls that counted began and ended, by response id: two tokenisers may count one prompt differently."""
    beneath: set[tuple[str, str]] = field(default_factory=set)
    """(trace, span) of the calls that counted and of everything beneath them."""
    above: set[tuple[str, str]] = field(default_factory=set)
    """(trace, span) that calls which counted name as being around them, where no file before had it."""


def one_each(calls: Iterable[Call], reading: Reading) -> Iterator[Record]:
    """The records of ``calls``, every call of a model once, in the log's order."""
    before: Before = reading.across.setdefault("calls", Before())
    spans = _each_span_once(calls, reading)
    at = {(span.trace, span.span): place for place, span in enumerate(spans) if span.span}
    wrappers = {above for span in spans if span.input_tokens is not None for above in _calls_above(span, spans, at)[:1]}
    for known in before.above & at.keys():  # what an earlier file's call lies beneath is here
        around = [at[known], *_above(spans[at[known]], spans, at)]
        wrappers |= {place for place in around if spans[place].input_tokens is not None}
    counted: set[int] = set()
    for place, call in enumerate(spans):
        if call.input_tokens is None:
            continue
        cause = call.cause or ("span around the span of the same call" if place in wrappers else "")
        names = _names(call)
        outermost = _outermost(call, spans, at)
        if not cause and (
            before.names & names or _same_answer(call, before) or (outermost.trace, outermost.parent) in before.beneath
        ):
            cause = _THERE_ALREADY
        if cause:
            reading.dropped[cause] += 1
            if place in wrappers and call.span:  # a copy of it in another file is around the same call
                before.names.add((call.trace, call.span))
            continue
        before.names |= names
        if call.response:
            before.answered.setdefault(call.response, []).append((call.start_s, call.end_s))
        counted.add(place)
        labels = _with_labels_above(call, spans, at)
        yield Record(call.row, call.start_s, call.input_tokens, call.output_tokens, labels, call.failed)
    _tell_sisters([spans[place] for place in sorted(counted)], reading)
    _remember(before, spans, at, counted)


def _each_span_once(calls: Iterable[Call], reading: Reading) -> list[Call]:
    """The spans without copies of the same id; of a span that is there with tokens and without, the one with tokens."""
    spans: list[Call] = []
    at: dict[tuple[str, str], int] = {}
    for call in calls:
        place = at.setdefault((call.trace, call.span), len(spans)) if call.span else len(spans)
        if place == len(spans):
            spans.append(call)
        elif spans[place].input_tokens is None:
            spans[place] = call
        elif call.input_tokens is not None:
            reading.dropped[_THERE_ALREADY] += 1
    return spans


def _same_answer(call: Call, before: Before) -> bool:
    """Whether a call that counted had the same response id while this one ran."""
    held = before.answered.get(call.response, []) if call.response else []
    return any(start_s <= call.end_s and call.start_s <= end_s for start_s, end_s in held)


def _tell_sisters(calls: list[Call], reading: Reading) -> None:
    """Notes how many calls differ from another of the same parent by less than a millisecond only."""
    held: dict[tuple[Any, ...], list[Call]] = {}
    for call in calls:
        if call.trace and not call.failed:
            key = (call.trace, call.parent, as_number(call.input_tokens), as_number(call.output_tokens))
            held.setdefault(key, []).append(call)
    close = sum(
        abs(one.start_s - other.start_s) < _AT_ONCE_S and abs(one.end_s - other.end_s) < _AT_ONCE_S
        for sisters in held.values()
        for one, other in itertools.pairwise(sorted(sisters, key=lambda call: call.start_s))
    )
    if close:
        reading.notes.append(
            f"{close} calls began and ended within {1e3 * _AT_ONCE_S:g} ms of another with the same parent and tokens: "
            "calls sent at once, or two instrumentations of one; they count as calls sent at once"
        )


def _remember(before: Before, spans: list[Call], at: dict[tuple[str, str], int], counted: set[int]) -> None:
    for place, span in enumerate(spans):
        if span.span and span.trace and (place in counted or counted & set(_above(span, spans, at))):
            before.beneath.add((span.trace, span.span))
    for place in counted:
        outermost = _outermost(spans[place], spans, at)
        if outermost.parent and outermost.trace:
            before.above.add((outermost.trace, outermost.parent))


def _outermost(span: Call, spans: list[Call], at: dict[tuple[str, str], int]) -> Call:
    """The last span around ``span`` in its file."""
    for place in _above(span, spans, at):
        span = spans[place]
    return span


def _names(call: Call) -> set[tuple[Any, ...]]:
    """What two spans of one call have in common: one of these."""
    tokens = (as_number(call.input_tokens), as_number(call.output_tokens))
    names: set[tuple[Any, ...]] = set()
    if call.trace and not math.isnan(call.start_s + call.end_s):
        names.add((call.trace, call.parent, call.start_s, call.end_s, call.labels.get("feature", ""), *tokens))
    if call.span:
        names.add((call.trace, call.span))
    if call.response:
        names.add((call.response, *tokens))
    return names


def _above(span: Call, spans: list[Call], at: dict[tuple[str, str], int]) -> Iterator[int]:
    """Places of the spans around ``span``, the nearest first."""
    passed = {id(span)}
    for _ in range(_MOST_DEEP):
        place = at.get((span.trace, span.parent)) if span.parent else None
        if place is None or id(spans[place]) in passed:  # a circle is no descent
            return
        yield place
        span = spans[place]
        passed.add(id(span))


def _calls_above(span: Call, spans: list[Call], at: dict[tuple[str, str], int]) -> list[int]:
    return [place for place in _above(span, spans, at) if spans[place].input_tokens is not None]


def _with_labels_above(call: Call, spans: list[Call], at: dict[tuple[str, str], int]) -> dict[str, Any]:
    """The call's labels, and what only the spans around it know (a server does not know the session)."""
    labels = dict(call.labels)
    for place in _above(call, spans, at):
        for name, value in spans[place].labels.items():
            if value and labels.get(name) in (None, "", "unknown_service"):
                labels[name] = value
    return labels


def max_tokens_of(parameters: Any) -> int | None:
    """The request's cap on its answer, from a mapping or JSON text of its parameters."""
    flat = flattened(mapping_of(parameters))
    for name in _CAPS:
        value = as_number(flat.get(name))
        if 1 <= value < 1e9:
            return int(value)
    return None
