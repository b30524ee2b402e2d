"""The jobs of one page: asked, queued, run by worker processes, watched, cancelled. Runs in the server's event loop."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from sim.explore.work import Question
from sim.explore.workers import Cancelled, Worker

State = Literal["waiting", "running", "done", "wrong", "fault", "cancelled"]
MOST_JOBS = 200
"""Ended jobs that are remembered."""


@dataclass
class Job:
    """One question and how far it is."""

    number: int
    question: Question
    state: State = "waiting"
    text: str = ""
    """What it is at, or why it has no answer."""
    answer: dict[str, Any] | None = None
    worker: Worker | None = field(default=None, repr=False)

    def shown(self) -> dict[str, Any]:
        """What the page asks for again and again."""
        return {"job": self.number, "how": self.question.how, "state": self.state, "text": self.text, "answer": self.answer}


class Desk:
    """Previews have a worker of their own, so that a long run never keeps one waiting; the others share the rest."""

    def __init__(self, workers: int = 2) -> None:
        self._previewer = Worker()
        self._others = [Worker() for _ in range(max(1, workers - 1))]
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self._others:
            self._free.put_nowait(worker)
        self._preview_turn = asyncio.Lock()
        self._newest_preview = 0
        self._jobs: dict[int, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._folders = TemporaryDirectory(prefix="servecap-explore-", ignore_cleanup_errors=True)
        """Exported runs, until their jobs are forgotten or the desk is closed."""

    def ask(self, question: Question) -> Job:
        """Take a question; its job runs by itself."""
        self._count += 1
        job = Job(self._count, replace(question, folder=str(self._folder(self._count))))
        self._jobs[job.number] = job
        for number in [n for n, old in self._jobs.items() if old.state not in ("waiting", "running")][:-MOST_JOBS]:
            del self._jobs[number]
            shutil.rmtree(self._folder(number), ignore_errors=True)
        preview = question.how == "preview"
        if preview:
            self._newest_preview = job.number
        task = asyncio.create_task(self._preview(job) if preview else self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def job(self, number: int) -> Job | None:
        """The job of this number, unless it is forgotten."""
        return self._jobs.get(number)

    async def cancel(self, job: Job) -> None:
        """End a job: one that waits never begins, one that runs loses its process."""
        if job.state in ("waiting", "running"):
            job.state, worker = "cancelled", job.worker
            if worker is not None:
                await asyncio.to_thread(worker.cancel)

    def close(self) -> None:
        """End every process."""
        for worker in (self._previewer, *self._others):
            worker.close()
        self._folders.cleanup()

    def _folder(self, number: int) -> Path:
        return Path(self._folders.name) / str(number)

    async def _preview(self, job: Job) -> None:
        async with self._preview_turn:
            if job.number != self._newest_preview:
                job.state = "cancelled"  # a newer one makes it idle
                return
            await self._on(job, self._previewer)

    async def _run(self, job: Job) -> None:
        worker = await self._free.get()
        try:
            await self._on(job, worker)
        finally:
            self._free.put_nowait(worker)

    async def _on(self, job: Job, worker: Worker) -> None:
        if job.state != "waiting":
            return
        job.state, job.worker = "running", worker
        try:
            said = await asyncio.to_thread(worker.ask, job.question, lambda text: setattr(job, "text", text))
        except Cancelled:
            if job.state == "running":  # the process died by itself
                job.state, job.text = "fault", "the process that ran it ended without an answer (out of memory?)"
            return
        finally:
            job.worker = None
        if job.state == "running":
            job.answer, job.text = said.answer, said.text
            job.state = "done" if said.kind == "done" else "wrong" if said.kind == "wrong" else "fault"
