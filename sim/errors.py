"""The one family of errors, each with the exit code that the command line ends with.

Raise these for what a user can mend: the message names the key or the file and row, what was found and what is legal.
Anything else that is raised is a defect of servecap and keeps its traceback.
"""

from __future__ import annotations


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
