"""Progress of one job on standard error: a line that renews itself on a terminal, one line per ten seconds elsewhere.

The jobs of a sweep run in other processes or on other machines: each leaves its line in its folder (``PROGRESS``), and the
command that started them reads it there (``sim.cli.folder_watch``).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from sim.watch import Watch, watching

PROGRESS = ".progress"
"""The file in a job's folder that holds its line while it runs."""
TERMINAL_S = 0.25
PLAIN_S = 10.0
_PATIENCE_S = 1.0
"""What ends sooner shows nothing."""


@contextmanager
def shown_progress(*, quiet: bool = False) -> Iterator[Watch]:
    """The progress of what runs inside, on standard error unless ``quiet``."""
    console = Console(stderr=True)
    with watching() as watch:
        watch.silent = quiet
        if quiet:
            yield watch
        elif console.is_terminal:
            with _every(TERMINAL_S, _on_terminal(console, watch)):
                yield watch
        else:
            with _every(PLAIN_S, lambda: say(watch.line())):
                yield watch


@contextmanager
def left_in(folder: Path) -> Iterator[None]:
    """The progress of what runs inside, as the file ``PROGRESS`` in ``folder`` while it runs."""
    path, beside = folder / PROGRESS, folder / f"{PROGRESS}.part"

    def write() -> None:
        with contextlib.suppress(OSError):
            beside.write_text(watch.line(), encoding="utf-8")
            beside.replace(path)

    with watching() as watch:
        try:
            with _every(_PATIENCE_S, write):
                yield
        finally:
            for file in (path, beside):
                file.unlink(missing_ok=True)


def say(line: str) -> None:
    """One plain line, if there is something to say."""
    if line:
        print(f"servecap: {line}", file=sys.stderr, flush=True)


def _on_terminal(console: Console, watch: Watch) -> Callable[[], Callable[[], None] | None]:
    status = console.status("")
    shown = False

    def show() -> Callable[[], None] | None:
        nonlocal shown
        line = watch.line()
        if line:
            status.update(line)
            if not shown:
                status.start()
                shown = True
        return status.stop

    return show


@contextmanager
def _every(period_s: float, tell: Callable[[], object]) -> Iterator[None]:
    """``tell`` is called every ``period_s`` by a thread of its own, first after as long and a second at least; what its
    last call returned, if anything, is called at the end."""
    over = threading.Event()
    end: list[object] = []

    def run() -> None:
        wait_s = max(period_s, _PATIENCE_S)
        while not over.wait(wait_s):
            end[:] = [tell()]
            wait_s = period_s

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for stop in filter(callable, end):
            stop()
