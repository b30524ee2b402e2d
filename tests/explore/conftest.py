"""A running ``servecap explore``: one server for all tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where the page is."""
    pytest.importorskip("starlette", reason="servecap[web] is not installed")
    pytest.importorskip("uvicorn", reason="servecap[web] is not installed")
    command = [sys.executable, "-m", "sim", "explore", "slo=chat", "--port", "0", "--no-browser", "--json", "--for-s", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
