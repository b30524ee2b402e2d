"""One command at a time in a folder: whoever writes there leaves a claim, and the claim of a dead process is void.

A claim says host, process and the moment at which that process started (a number is given to another process later).
A claim of another host cannot be tested from here: it stands until it is removed by hand.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sim.errors import OutputError

CLAIM = ".servecap.lock"


def made_folder(wanted: Path) -> Path:
    """``wanted``, or where it exists ``wanted-2``, ``wanted-3``, ...: made by this call and by no other."""
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """``folder``, made if need be, is this process's alone.

    Raises:
        OutputError: another command that still runs writes there, or nothing can be written there.
    """
    claim(folder)
    try:
        yield
    finally:
        release(folder)


def claim(folder: Path) -> None:
    """Take ``folder`` (as ``claimed``), until ``release``."""
    path = folder / CLAIM
    mine = {"host": platform.node(), "pid": os.getpid(), "started": _started(os.getpid())}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            holder = _holder(path)
            if holder is not None and holder != mine and _lives(holder):
                raise OutputError(
                    f"{folder}: another command (process {holder['pid']} on {holder['host']}) writes here; "
                    f"wait for it, choose another folder, or remove {path} if it is dead"
                )
            path.write_text(json.dumps(mine), encoding="utf-8")
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from None


def release(folder: Path) -> None:
    """Give ``folder`` back."""
    with contextlib.suppress(OSError):
        (folder / CLAIM).unlink()


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else on this host reads and replaces a claim in ``folder`` meanwhile."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _holder(path: Path) -> dict[str, object] | None:
    """Who holds the claim; None: nobody, or what is written there is no claim."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"host", "pid", "started"} <= found.keys() else None


def _lives(holder: dict[str, object]) -> bool:
    pid = holder["pid"]
    if holder["host"] != platform.node() or not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives, and is another user's
    started = _started(pid)
    return started is None or holder["started"] is None or started == holder["started"]


def _started(pid: int) -> str | None:
    """When a process started, in whatever words this system has for it; None if it cannot be known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {stat.rpartition(')')[2].split()[19]}"  # field 22: ticks since the system started
    except (OSError, IndexError):
        pass
    try:
        asked = ["ps", "-o", "lstart=", "-p", str(pid)]
        answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
