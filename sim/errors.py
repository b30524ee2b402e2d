"""The one family of errors, each with the exit code that the command line ends with.

Raise these for what a user can mend: the message names the key or the file and row, what was found and what is legal.
Anything else that is raised is a defect of servecap and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SimError(Exception):
    """Root of every error a user can cause; ``exit_code`` is what the process ends with."""

    exit_code = 2


class ConfigError(SimError, ValueError):
    """A configuration key holds a value that is not legal."""


class TraceError(SimError, ValueError):
    """A trace file cannot be read as what it claims to be; the message names file and row."""


class DoesNotFitError(SimError):
    """Model, engine settings and GPU do not go together (memory arithmetic in the message)."""


class OutputError(SimError, OSError):
    """A result cannot be written."""


class LauncherError(SimError):
    """What should have run the jobs of a sweep (Ray, SLURM) failed; the jobs that have finished are kept."""

    exit_code = 1


class InfeasibleError(SimError):
    """Nothing that was allowed meets the SLO."""

    exit_code = 3


class InvariantError(AssertionError):
    """A law of the simulation was broken: a defect of servecap, so no ``SimError`` (exit code 1, with its traceback)."""


@contextmanager
def reading(place: object, what: str, error: type[SimError] = ConfigError) -> Iterator[None]:
    """The boundary of a reader: whatever ``place`` (a file, a folder) makes it raise becomes one ``error`` that says where,
    what it should have been (``what``, with its article), and why it is not.

    Messages that say so already pass; so do an unknown name and a missing package, which are no file's fault.
    """
    try:
        yield
    except (SimError, NameError, ImportError):
        raise
    except MemoryError as cause:
        raise error(f"{place}: needs more memory than there is") from cause
    except RecursionError as cause:
        raise error(f"{place}: is no {what.partition(' ')[2]} (it is nested too deeply)") from cause
    except Exception as cause:
        words = " ".join(str(cause).split())
        reason = f"{type(cause).__name__}: {words}" if words else type(cause).__name__
        raise error(f"{place}: cannot be read as {what} ({reason:.500})") from cause
