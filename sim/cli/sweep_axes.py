"""How a sweeper of ours begins: its configuration stands in the sweep's folder, what was stated is parsed, and the words are
checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class StatedSweep(Sweeper):
    """A sweep as Hydra hands it over. Sweepers of ours derive from it, and it lies apart from them: Hydra executes their
    modules a second time when it scans for plugins, and a class of the first time is no longer the one that ``super()`` of
    the second names."""

    def __init__(self, params: Mapping[str, str] | None) -> None:
        self._params = dict(params or {})
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra hands over what is needed to launch jobs."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def stated(self, arguments: Sequence[str]) -> list[Override]:
        """``params`` of the configuration, then ``arguments`` of the command line; ``multirun.yaml`` is written first."""
        assert self.config is not None and self.hydra_context is not None, "Hydra calls setup first"
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return parser.parse_overrides([*(f"{key}={axis}" for key, axis in self._params.items()), *arguments])

    def check_words(self, grid: Sequence[Sequence[str]]) -> None:
        """Hydra composes what of ``grid`` tells whether its words are right."""
        assert self.hydra_context is not None, "Hydra calls setup first"
        self.validate_batch_is_legal(telling_jobs(grid, self.hydra_context))

    def launch(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """Run ``jobs``, numbered from ``first``."""
        assert self.launcher is not None, "Hydra calls setup first"
        return self.launcher.launch(jobs, initial_job_idx=first)


def telling_jobs(grid: Sequence[Sequence[str]], context: HydraContext) -> list[Sequence[str]]:
    """Jobs of ``grid`` that hold each key and each preset at least once: what can be wrong with the words of a sweep shows
    in these, and composing 500 jobs takes minutes."""
    seen: set[str] = set()
    telling = []
    for job in grid:
        words = {_word(override, context) for override in job}
        if not words <= seen:
            seen |= words
            telling.append(job)
    return telling


def _word(override: str, context: HydraContext) -> str:
    """The whole override where it chooses a preset, else its key."""
    key = override.partition("=")[0]
    group = key.lstrip("+~").partition("@")[0]
    return override if context.config_loader.get_group_options(group) else key
