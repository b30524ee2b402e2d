"""Processes that simulate, so that the page's server never does: one question at a time each; cancelling ends the process.

A process is started anew behind the page's back, its libraries loaded and one scenario composed, so that a question rarely
waits for that.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from sim.explore.work import Question

LOOKS_PER_S = 5
"""How often a running job tells what it is at."""
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Said:
    """What a worker says: where it is, an answer, an error of the user's or one of ours."""

    kind: Literal["ready", "progress", "done", "wrong", "fault"]
    text: str = ""
    answer: dict[str, Any] | None = None


class Cancelled(Exception):
    """The worker was ended before it had an answer."""


class Worker:
    """One process. ``ask`` blocks: call it from a thread."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._is_ready = False

    def ask(self, question: Question, told: Callable[[str], None]) -> Said:
        """The end of ``question``; ``told`` hears what the job is at.

        Raises:
            Cancelled: ``cancel`` ended it, or the process died by itself (of memory, say).
        """
        if not self._process.is_alive():  # cancelled just when it had answered
            self._again()
        pipe = self._pipe
        try:
            while not self._is_ready:
                self._is_ready = pipe.recv().kind == "ready"
            pipe.send(question)
            while (said := pipe.recv()).kind == "progress":
                told(said.text)
        except (EOFError, OSError):
            self._again()
            raise Cancelled from None
        found: Said = said
        return found

    def cancel(self) -> None:
        """End the process, whatever it does; whoever asked it hears ``Cancelled``, and starts the next."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """End the process for good."""
        self.cancel()
        self._pipe.close()

    def _again(self) -> None:
        self.close()
        self._begin()


def work(pipe: Connection) -> None:
    """What runs in the process: answer questions until the pipe is closed."""
    from sim.cli.compose import composed_scenario
    from sim.cli.environment import fault
    from sim.errors import SimError
    from sim.explore.work import answered
    from sim.watch import Watch, watching

    composed_scenario([])
    pipe.send(Said("ready"))
    while True:
        try:
            question: Question = pipe.recv()
        except EOFError:
            return
        over = threading.Event()

        def tell(watch: Watch, over: threading.Event = over) -> None:
            while not over.wait(1 / LOOKS_PER_S):
                pipe.send(Said("progress", watch.line()))

        with watching() as watch:
            teller = threading.Thread(target=tell, args=(watch,), daemon=True)
            teller.start()
            try:
                end = Said("done", answer=answered(question))
            except SimError as error:
                end = Said("wrong", str(error))
            except Exception as error:  # shown on the page; the process lives on
                found = fault(error)
                end = Said("wrong", found) if found else Said("fault", f"{type(error).__name__}: {error}")
            over.set()
            teller.join()
        pipe.send(end)
