"""Reports of means, which are no traces: recognised, so that one message says what they are good for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sim.errors import TraceError
from sim.measured import aggregates_in, names_a_result
from sim.workload.rows import Chunk, Reading
from sim.workload.source import open_utf8

_MOST_BYTES = 64 << 20


class AggregateFormat:
    """Any benchmark summary or ``/metrics`` dump that ``sim.measured`` knows."""

    name = "aggregate"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By a producer's marks, where the file is small enough to be a report and one reads it."""
        if path.is_dir() or not names_a_result(head.decode("utf-8", errors="replace")):
            return False
        try:
            return bool(aggregates_in(str(path), _text(path)))
        except TraceError:  # a known report that cannot be used: its own message is the best
            return True

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """Never any.

        Raises:
            TraceError: always, with what the report can be used for.
        """
        raise not_a_trace(reading.path)


def not_a_trace(path: Path) -> TraceError:
    """What to tell a user who replays a report of means."""
    try:
        points = aggregates_in(str(path), _text(path))
    except TraceError as error:
        why = str(error).removeprefix(f"{path}: ")
        return TraceError(f"{path}: is a report of means, not a trace; as measurements: {why}")
    if not points:
        return TraceError(f"{path}: is no trace, and no report of means that is known")
    what = points[0].words if len(points) == 1 else f"{len(points)} runs, the first {points[0].words}"
    lengths = f"input_tokens {points[0].input_tokens:.0f}, output_tokens {points[0].output_tokens:.0f}"
    return TraceError(
        f"{path}: holds means, no requests ({what}), so there is nothing to replay. Calibrate with it: servecap calibrate "
        f"{path} model=... gpu=...; its lengths can stand in a workload.generator ({lengths})"
    )


def _text(path: Path) -> str:
    with open_utf8(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise TraceError(f"{path}: is larger than a report of means ({_MOST_BYTES >> 20} MiB)")
    return content.decode("utf-8", errors="replace")
