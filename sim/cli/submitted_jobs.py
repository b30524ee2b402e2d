"""What a command that is interrupted has left with a cluster: ended where that can be done from here, else named.

submitit keeps a folder for each job that it submitted, named by the cluster's number for it. Ray ends the tasks of a
driver that leaves. Other launchers run in processes that end with the command.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

_NUMBER = re.compile(r"(\d+)(_\d+)?")


def end_submitted(folder: Path, launcher: str, since_s: float) -> str:
    """End the jobs that ``launcher`` (the end of its ``_target_``) submitted from the sweep in ``folder`` after
    ``since_s`` (Unix time); what a user must know, or nothing."""
    if launcher == "RayLauncher":
        ray = sys.modules.get("ray")
        if ray is not None:
            ray.shutdown()
        return ""
    kept = folder / ".submitit"
    recent = [path.name for path in kept.glob("*") if path.is_dir() and path.stat().st_mtime >= since_s]
    numbers = sorted({found.group(1) for name in recent if (found := _NUMBER.fullmatch(name))})
    if launcher == "SlurmLauncher" and numbers:
        return _end_slurm(numbers)
    if launcher == "LocalLauncher":
        for number in numbers:
            with contextlib.suppress(OSError):
                os.waitpid(int(number), os.WNOHANG)  # fails unless it is a child of ours
                os.kill(int(number), signal.SIGTERM)
    return ""


def _end_slurm(numbers: list[str]) -> str:
    try:
        subprocess.run(["scancel", *numbers], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        text = (getattr(error, "stderr", None) or str(error)).strip()
        return f"SLURM jobs may go on ({text}); to end them: scancel {' '.join(numbers)}"
    return f"Cancelled the SLURM jobs {' '.join(numbers)}."
