"""``hydra/sweeper=optuna``: Optuna proposes the values of many axes at once; minimises $ per 1M output tokens.

The axes are Hydra's own words: ``engine.block_size=choice(16,32)``, ``fleet.replicas=range(1,9)``,
``gateway.client_timeout_s=interval(5,60)``, ``tag(log, interval(1,100))``, ``int(interval(1,100))``. Trial n is job n.

Proposals are a function of the seed and of the trials before, so a sweep that was interrupted proposes the same again, and
the jobs that had finished answer from their folders: the same command with its ``hydra.sweep.dir`` goes on. ``storage``
(an Optuna URL) keeps the study for Optuna's own tools; with it ``n_trials`` counts those that the study already holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn

from sim.cli.sweep_axes import StatedSweep
from sim.errors import ConfigError

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "qmc": "QMCSampler"}


class OptunaSweeper(StatedSweep):
    """Asks a study for the next jobs, launches them, and tells it what they cost."""

    def __init__(
        self,
        n_trials: int = 20,
        n_jobs: int = 2,
        sampler: str = "tpe",
        seed: int = 0,
        storage: str | None = None,
        study_name: str | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        super().__init__(params)
        if sampler not in _SAMPLERS:
            raise ConfigError(f"hydra.sweeper.sampler: one of {', '.join(_SAMPLERS)}, but got {sampler!r}")
        for key, value in (("n_trials", n_trials), ("n_jobs", n_jobs)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"hydra.sweeper.{key} >= 1 must hold, but got {value!r}")
        if type(seed) is not int or seed < 0:
            raise ConfigError(f"hydra.sweeper.seed >= 0 must hold, but got {seed!r}")
        self._n_trials, self._n_jobs = n_trials, n_jobs
        self._sampler, self._seed = sampler, seed
        self._storage, self._study_name = storage, study_name

    def sweep(self, arguments: list[str]) -> Any:
        """Launch batches of ``n_jobs`` until the study holds ``n_trials``; returns the jobs' returns, batch by batch.

        Raises:
            ConfigError: Optuna is not installed, cannot open the storage, or an axis has no values.
        """
        latest = {override.get_key_element(): override for override in self.stated(arguments)}  # the last counts
        fixed = [f"{key}={one.get_value_element_as_str()}" for key, one in latest.items() if not one.is_sweep_override()]
        axes = {key: distribution(one) for key, one in latest.items() if one.is_sweep_override()}
        if not axes:
            raise ConfigError("hydra/sweeper=optuna: no axis to search, such as 'engine.max_num_seqs=range(8,257,8)'")
        study = self._study()
        returns: list[Sequence[JobReturn]] = []
        while batch := self._next_batch(study, axes):
            returns.append(self._launch_and_tell(study, batch, fixed))
        return returns

    def _study(self) -> optuna.Study:
        try:
            import optuna
        except ImportError:
            raise ConfigError("hydra/sweeper=optuna: Optuna is not installed; pip install 'servecap[optuna]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            return optuna.create_study(storage=self._storage, study_name=self._study_name, load_if_exists=True)
        except Exception as error:  # of the database's driver, whichever it is
            raise ConfigError(f"hydra.sweeper.storage={self._storage}: {' '.join(str(error).split())}") from None

    def _next_batch(self, study: optuna.Study, axes: dict[str, BaseDistribution]) -> list[optuna.Trial]:
        """Trials that a killed sweep left running in a storage; else the next, as far as the end of their batch."""
        import optuna

        known = study.get_trials(deepcopy=False)
        unfinished = [one.number for one in known if one.state == optuna.trial.TrialState.RUNNING]
        if unfinished:
            return [optuna.Trial(study, known[number]._trial_id) for number in unfinished]
        batch: list[optuna.Trial] = []
        for number in range(len(known), min(self._n_trials, (len(known) // self._n_jobs + 1) * self._n_jobs)):
            study.sampler = getattr(optuna.samplers, _SAMPLERS[self._sampler])(seed=self._seed + number)
            batch.append(study.ask(axes))
        return batch

    def _launch_and_tell(self, study: optuna.Study, batch: list[optuna.Trial], fixed: list[str]) -> list[JobReturn]:
        import optuna

        returns: list[JobReturn] = []
        for together in _consecutive(batch):
            jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in together]
            returns += self.launch(jobs, together[0].number)
        for trial, returned in zip(batch, returns, strict=True):
            outcome = returned.return_value
            if outcome.status == "crashed":
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, float(outcome))
        return returns


def distribution(axis: Override) -> BaseDistribution:
    """What Optuna draws from for one axis; choices stay the words that Hydra reads."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = axis.value()
    log = "log" in getattr(value, "tags", ())
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low or 0.0), float(high or 0.0), log=log)
        if isinstance(value, RangeSweep) and all(isinstance(one, int) for one in (value.start, value.stop, value.step)):
            values = range(int(value.start), int(value.stop), int(value.step))  # type: ignore[arg-type]
            return IntDistribution(min(values), max(values), step=1 if log else abs(values.step), log=log)
        return CategoricalDistribution(list(axis.sweep_string_iterator()))
    except ValueError as error:
        raise ConfigError(f"{axis.input_line}: no axis to search ({error})") from None


def _consecutive(batch: list[optuna.Trial]) -> list[list[optuna.Trial]]:
    """``batch`` cut where numbers are missing: a launcher numbers its jobs without gaps."""
    runs: list[list[optuna.Trial]] = []
    for trial in batch:
        if runs and runs[-1][-1].number + 1 == trial.number:
            runs[-1].append(trial)
        else:
            runs.append([trial])
    return runs


def register() -> None:
    """Make the name ``optuna`` ours, also beside the older plug-in of that name."""
    Plugins.instance().register(OptunaSweeper)
    ConfigStore.instance().store(
        group="hydra/sweeper",
        name="optuna",
        node={
            "_target_": f"{OptunaSweeper.__module__}.{OptunaSweeper.__name__}",
            "n_trials": 20,
            "n_jobs": 2,
            "sampler": "tpe",
            "seed": 0,
            "storage": None,
            "study_name": None,
            "params": None,
        },
        provider="servecap",
    )
