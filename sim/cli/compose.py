"""A scenario from override strings, for verbs that are not Hydra applications themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sim.cli.hydra_errors import message_of
from sim.cli.overrides import as_hydra_reads
from sim.cli.scenario import scenario_from
from sim.cli.shared_config import shared_folders
from sim.errors import ConfigError, SimError
from sim.spec import Scenario


@contextmanager
def _inside_a_job() -> Iterator[None]:
    """Hydra knows one application at a time: a job's own stands aside while another configuration is composed."""
    known = GlobalHydra.instance()
    running = known.hydra
    known.clear()
    try:
        yield
    finally:
        if running is not None:
            GlobalHydra.instance().clear()
            GlobalHydra.instance().initialize(running)


def composed_scenario(overrides: Sequence[str]) -> Scenario:
    """The scenario of the packaged configuration under ``overrides``, among which ``--config-dir DIR`` may stand.

    Raises:
        ConfigError: an override names what does not exist, or a value is illegal.
    """
    try:
        with shared_folders(overrides) as own:
            stated = as_hydra_reads(own)
            with _inside_a_job(), initialize_config_module("sim.configs", version_base="1.3"):
                return scenario_from(compose("config", overrides=stated), overrides)
    except SimError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(message_of(error)) from None
