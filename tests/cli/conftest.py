"""The program as a user sees it: argv in, exit code and text out, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sim.cli.main import main

SMALL = ("workload.duration_s=40", "workload.rate_scale=2")
"""About 440 requests of the packaged trace."""

FAST = ("hydra/launcher=basic", "search.one_replica_load=false", "search.max_replicas=8")
"""A sweep in this process, without the curve of one replica."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What a user is told on stderr; never a traceback."""
        assert "Traceback" not in self.err
        return self.err


@pytest.fixture
def servecap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> Ended:
        capsys.readouterr()
        try:
            code = main(argv)
        except SystemExit as exit_:  # argparse and Hydra's --help end so
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run
