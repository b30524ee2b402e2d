"""Packaged configuration, this program's and Hydra's own, as Hydra reads it; but each file is parsed once, by libyaml.

A sweep composes the same thirty files for every job, and a parser written in Python takes a third of the time that this
takes. Values are the same (``tests/cli/test_packaged_source.py`` reads every preset both ways).
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

_PACKAGES = "pkg://"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads numbers as OmegaConf does (1e-3 is one)."""

    yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers


class PackagedSource(ImportlibResourcesConfigSource):
    """Serves the files of a package."""

    @staticmethod
    def scheme() -> str:
        """What its paths begin with."""
        return "packaged"

    def load_config(self, config_path: str) -> ConfigResult:
        """The file as Hydra merges it."""
        name = self._normalize_file_name(config_path)
        text = _text(self.path, name)
        if text is None:
            raise ConfigLoadError(f"Config not found : {name}")
        return ConfigResult(
            config=OmegaConf.create(_data(text)), path=f"{self.scheme()}://{self.path}", provider=self.provider,
            header=self._get_header_dict(text[:512]),
        )  # fmt: skip


class PackagedConfiguration(SearchPathPlugin):
    """Lets Hydra read packages through ``PackagedSource``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Hydra calls this while it makes its search path."""
        for entry in search_path.get_path():
            if entry.path.startswith(_PACKAGES):
                entry.path = f"{PackagedSource.scheme()}://{entry.path.removeprefix(_PACKAGES)}"


@cache
def _text(package: str, name: str) -> str | None:
    file = resources.files(package).joinpath(name)
    return file.read_text(encoding="utf-8") if file.is_file() else None


@cache
def _data(text: str) -> Any:
    found = yaml.load(text, Loader=_Loader)
    return {} if found is None else found
