"""``JobProcesses``: the jobs of a sweep on the cores of this machine.

Every slot is a process of its own (loky's, which joblib brings), so that one that is killed, by the kernel for its memory or
by hand, loses the job that it ran and nothing else: the slot is filled again and the rest goes on. A process ends when the
command that started it is gone, however that ended.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool
from omegaconf import DictConfig, OmegaConf, open_dict

from sim.cli.job import JobOutcome, lost_job

_WATCH_S = 0.5


class JobProcesses:
    """``n_jobs`` slots (-1: one a core, -2: one less) for jobs of ``task`` under ``config``."""

    def __init__(self, n_jobs: int, context: HydraContext, config: DictConfig, task: TaskFunction) -> None:
        self._slots = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
        self._idle: list[ProcessPoolExecutor] = []
        self._context = context
        self._config = config
        self._task = task

    def run(self, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run ``jobs`` (their overrides), numbered from ``first``; their returns in the same order."""
        waiting = deque(enumerate(jobs))
        running: dict[Future[JobOutcome], tuple[int, ProcessPoolExecutor]] = {}
        returns: dict[int, JobReturn] = {}
        while len(self._idle) < min(self._slots, len(jobs)):
            self._idle.append(_slot())
        try:
            while waiting or running:
                while waiting and self._idle:
                    index, overrides = waiting.popleft()
                    slot = self._idle.pop()
                    running[self._submit(slot, first + index, overrides)] = index, slot
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index, slot = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool as error:
                        slot.shutdown(kill_workers=True)
                        slot = _slot()
                        outcome = self._lost(first + index, jobs[index], _how_it_ended(error))
                    self._idle.append(slot)
                    returns[index] = JobReturn(jobs[index], status=JobStatus.COMPLETED, _return_value=outcome)
        except BaseException:
            for _, slot in running.values():
                slot.shutdown(kill_workers=True)
            raise
        return [returns[index] for index in range(len(jobs))]

    def _submit(self, slot: ProcessPoolExecutor, number: int, overrides: Sequence[str]) -> Future[JobOutcome]:
        state = Singleton.get_state()
        submitted: Future[JobOutcome] = slot.submit(
            _run, number, list(overrides), self._context, self._config, self._task, state
        )
        return submitted

    def _lost(self, number: int, overrides: Sequence[str], reason: str) -> JobOutcome:
        config = _job_config(number, overrides, self._context, self._config)
        HydraConfig.instance().set_config(config)  # the folder's name may ask for it
        folder = Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)).absolute()
        stated: Any = OmegaConf.to_container(config.hydra.overrides.task)
        return lost_job(folder, tuple(stated), reason)


def _slot() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, initializer=_end_with_parent, initargs=(os.getpid(),))


def _end_with_parent(parent: int) -> None:
    """In a new process: Ctrl-C is the parent's business, and its end is ours; other cores are other jobs'."""
    os.environ["LOKY_MAX_CPU_COUNT"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(
    number: int,
    overrides: list[str],
    hydra_context: HydraContext,
    config: DictConfig,
    task_function: TaskFunction,
    singletons: dict[Any, Any],
) -> JobOutcome:
    """One job, in its process."""
    setup_globals()
    Singleton.set_state(singletons)
    job_config = _job_config(number, overrides, hydra_context, config)
    HydraConfig.instance().set_config(job_config)
    returned = run_job(
        hydra_context=hydra_context,
        config=job_config,
        task_function=task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    outcome: JobOutcome = returned.return_value
    return outcome


def _job_config(number: int, overrides: Sequence[str], context: HydraContext, config: DictConfig) -> DictConfig:
    found = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(found):
        found.hydra.job.id = f"{found.hydra.job.name}_{number}"
        found.hydra.job.num = number
    return found


def _how_it_ended(error: BrokenProcessPool) -> str:
    """loky knows the exit codes: ``... The exit codes of the workers are {SIGKILL(-9)}``."""
    code = re.search(r"\{(.*?)\}", str(error))
    how = code.group(1) if code else " ".join(str(error).split())
    return f"its process ended before it ({how}): killed by hand, or for the memory that it took?"
