"""What a command brings into its process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection


def imported_by(code: str, names: Collection[str]) -> tuple[set[str], str]:
    """Which modules of ``names`` are loaded after ``code`` has run in a process of its own, and what it printed."""
    told = f"{code}\nimport json, sys; print(json.dumps(sorted({set(names)!r} & set(sys.modules))), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout
