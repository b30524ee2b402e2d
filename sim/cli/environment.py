"""The machine and the installation that the command runs on: their faults by name, and terminals of any alphabet."""

from __future__ import annotations

import contextlib
import sys
from importlib import metadata


def version() -> str:
    """The installed version; ``0+checkout`` where the code runs without having been installed."""
    try:
        return metadata.version("servecap")
    except metadata.PackageNotFoundError:
        return "0+checkout"


def fault(error: BaseException) -> str | None:
    """What of the environment ``error`` says is at fault, in one sentence; None: none of it, the program itself is."""
    words = " ".join(str(error).split())
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] != "sim":
        return f"a package is missing or damaged ({words}); installing servecap again mends it"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; a smaller workload.limit or workload.duration_s needs less"
    if isinstance(error, OSError):
        return words
    return None


def any_terminal() -> None:
    """What a terminal's alphabet lacks is shown as ``?`` there, instead of ending the program after its work."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
        if encoding not in ("utf-8", "utf8"):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
