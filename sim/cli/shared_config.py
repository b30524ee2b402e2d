"""Configuration folders that others wrote (``--config-dir``, ``hydra.searchpath``): data, of which nothing runs.

Hydra would take anything from such a folder: ``hydra.callbacks`` with a ``_target_`` calls any Python, ``hydra.job_logging``
truncates any file, ``${oc.env:SECRET}`` copies a secret into the results. So Hydra reads these folders through a source of
ours, which serves files of this program's own groups only and tests the very text that it hands over, before Hydra has
acted on anything. Of ``hydra:`` only what an experiment sweeps may stand there, and no setting may name an address, for a
run would call it. What is refused here is allowed on one's own command line.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.cli.packaged_source import PackagedConfiguration, PackagedSource
from sim.cli.plain_yaml import children_of, line_of, plain_nodes, text_of
from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets

_FLAG = re.compile(r"(--config-d(?:ir?)?|-cd)(?:=(.*))?", re.DOTALL)
_SEARCH_PATH = re.compile(r"\+{0,2}hydra\.searchpath=")
_RUNS = re.compile(r"_\w+_")
"""``_target_``, ``_args_``, ...: the keys with which a configuration names Python code."""
_OF_OWN_KEYS = re.compile(r"\$\{\.*(?!hydra\b)[A-Za-z_]\w*(?:\.(?!hydra\b)\w+)*\}")
"""``${model.max_context}``: the value of another key, which is the one kind of interpolation without side effects."""
_PACKAGE = re.compile(r"(_global_|_group_|_here_|(?!hydra\b)[A-Za-z]\w*)(\.(?!hydra\b)[A-Za-z]\w*)*")
_HYDRA = re.compile(r"hydra(\W|$)")
_OWN_KEY = re.compile(r"(?!hydra\b)[A-Za-z]\w*(\.(?!hydra\b)\w+)*")
_CHOICE = re.compile(rf"((optional|override) +)*/?[\w.-]+(/[\w.-]+)*(@{_PACKAGE.pattern})?")
"""An item of a defaults list: keywords, group or preset, where to put it."""
_LEAVES = re.compile(r"\.\.|\bhydra\b|\$|(?i:https://)")
_ADDRESS = re.compile(r"(?i:https://)|\.source\}|\{source\}")
"""What a run would load (nothing but https is), or the value of a ``source``: the one setting that may be one, for it is
only shown."""
_GLUED = re.compile(r".+\$\{\}.*|\$\{\}.+", re.DOTALL)
"""References beside anything else: together they could make an address."""
_ODD_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|(?=.*_)[0-9.][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?)"
)
"""What YAML reads as another number than it says to people: ``0100`` (64), ``1:30`` (90), ``1_0`` (10)."""
_ALLOWED = "allowed on your own command line, not in a configuration folder"

_folders: tuple[Path, ...] = ()
"""The folders of the command that runs; Hydra makes its search path plug-ins itself and hands them nothing."""


class SharedSource(ConfigSource):
    """Serves ``GROUP/NAME.yaml`` of a folder for the groups that this program has, each file checked as it is read."""

    @staticmethod
    def scheme() -> str:
        """What its paths begin with."""
        return "shared"

    def load_config(self, config_path: str) -> ConfigResult:
        """The file as Hydra merges it.

        Raises:
            ConfigError: it asks for more than settings of this program.
        """
        path = self._place(self._normalize_file_name(config_path))
        text = text_of(path)
        try:
            header = self._get_header_dict(text[:512])
            _check(text, header, str(path))
            config = OmegaConf.load(io.StringIO(text))
        except (OmegaConfBaseException, yaml.YAMLError, OSError, RecursionError) as error:  # OSError: a bare value
            raise ConfigError(f"{path}: is no configuration ({' '.join(str(error).split())})") from None
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header=header)

    def available(self) -> bool:
        """True while the folder is there."""
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        """True for the folder itself and for folders of own groups."""
        return not config_path or (_is_own(config_path) and self._place(config_path).is_dir())

    def is_config(self, config_path: str) -> bool:
        """True for a file in a folder of an own group."""
        name = self._normalize_file_name(config_path)
        return _is_own(name) and "/" in name and self._place(name).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """What the folder holds of own groups."""
        found: list[str] = []
        for path in Path(self.path, config_path).iterdir():
            self._list_add_result(found, str(PurePosixPath(config_path, path.name)), path.name, results_filter)
        return sorted(set(found))

    def _place(self, config_path: str) -> Path:
        """Where a file or group lies; links may not lead out of the folder."""
        path = Path(self.path, config_path)
        if not path.resolve().is_relative_to(Path(self.path).resolve()):
            raise ConfigError(f"{path}: leads out of the configuration folder")
        return path


class SharedFolders(SearchPathPlugin):
    """Puts the command's folders behind the packaged configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Hydra calls this while it makes its search path."""
        for folder in _folders:
            search_path.append(provider="command-line", path=f"{SharedSource.scheme()}://{folder}")


@contextmanager
def shared_folders(arguments: Sequence[str]) -> Iterator[list[str]]:
    """``arguments`` without the folders that they name; within the context Hydra reads these folders as data.

    Raises:
        ConfigError: a folder is none, or holds what would replace this program's own; a flag that runs what a file says.
    """
    global _folders  # noqa: PLW0603 (see above)
    rest, folders = _apart(arguments)
    for folder in folders:
        _check_folder(folder)
    parsed, _ = get_args_parser().parse_known_args(rest)  # as Hydra will: whatever a flag is shortened to
    if parsed.config_dir or parsed.config_path or parsed.experimental_rerun:
        raise ConfigError("--config-path and --experimental-rerun let a file run code; presets of yours: --config-dir DIR")
    for plugin in (PackagedSource, PackagedConfiguration, SharedSource):
        Plugins.instance().register(plugin)
    Plugins.instance().register(SharedFolders)
    before, _folders = _folders, tuple(folders)
    try:
        yield rest
    finally:
        _folders = before


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    """``arguments`` without ``--config-dir`` and the folders of ``hydra.searchpath``, and these folders, absolute."""
    rest: list[str] = []
    folders: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        flag = _FLAG.fullmatch(argument)
        if flag:
            value = flag.group(2) if flag.group(2) is not None else next(waiting, None)
            rest += [argument] if value is None else []  # Hydra says that the flag needs a value
            folders += [] if value is None else [value]
        elif _SEARCH_PATH.match(argument):
            (override,) = OverridesParser.create().parse_overrides([argument])
            places = override.value()
            if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
                raise ConfigError(f"{argument}: expected a list of folders")
            rest += [f"hydra.searchpath=[{','.join(place for place in places if place.startswith('pkg://'))}]"]
            folders += [place.removeprefix("file://") for place in places if not place.startswith("pkg://")]
        else:
            rest.append(argument)
    return rest, [Path(folder).absolute() for folder in folders]


def _check_folder(folder: Path) -> None:
    """What would replace this program's own configuration, or would be passed over in silence, is said before the start."""
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: no such folder")
    for name in ("config.yaml", "hydra"):
        if (folder / name).exists():
            raise ConfigError(f"{folder / name}: a configuration folder holds GROUP/NAME.yaml; {name} is not read from one")
    for group, presets in packaged_presets().items():
        for preset in sorted(presets):
            if (folder / group / f"{preset}.yaml").exists():
                raise ConfigError(f"{folder / group / preset}.yaml: {group}={preset} is a packaged preset; rename yours")


def _is_own(config_path: str) -> bool:
    parts = config_path.split("/")
    return parts[0] in packaged_presets() and not {"", ".", ".."} & set(parts)


def _check(text: str, header: dict[str, str | None], where: str) -> None:
    """Settings, references to other settings, and presets of own groups pass; everything else is refused."""
    package = header.get("package")
    if package is not None and not _PACKAGE.fullmatch(package):
        raise ConfigError(f"{where}: `# @package {package}` would set more than this program's own keys")
    root = plain_nodes(text, where)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{where}, line {line_of(root)}: expected keys and values")
    own = [pair for pair in root.value if not (pair[0].value == "hydra" and _only_what_to_sweep(pair[1]))]
    _check_node(yaml.MappingNode(root.tag, own, root.start_mark, root.end_mark), where, set())


def _only_what_to_sweep(node: yaml.Node) -> bool:
    """An experiment may be a sweep by itself: ``hydra: {mode: MULTIRUN, sweeper: {params: {own key: axis}}}``."""
    found = {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {"": node}
    sweeper = found.pop("sweeper", None)
    if any(key != "mode" or value.value not in ("RUN", "MULTIRUN") for key, value in found.items()):
        return False
    if sweeper is None:
        return True
    params = sweeper.value[0] if isinstance(sweeper, yaml.MappingNode) and len(sweeper.value) == 1 else (sweeper, sweeper)
    if params[0].value != "params" or not isinstance(params[1], yaml.MappingNode):
        return False
    return all(
        _OWN_KEY.fullmatch(str(key.value)) and isinstance(axis, yaml.ScalarNode) and not _LEAVES.search(axis.value)
        for key, axis in params[1].value
    )


def _check_node(node: yaml.Node, where: str, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    place = f"{where}, line {line_of(node)}"
    if isinstance(node, yaml.ScalarNode) and "${" in _OF_OWN_KEYS.sub("", node.value):
        raise ConfigError(f"{place}: {node.value!r} reads the environment or runs a resolver; it is {_ALLOWED}")
    if isinstance(node, yaml.ScalarNode) and node.style is None and _ODD_NUMBER.fullmatch(node.value):
        raise ConfigError(f"{place}: expected a number in plain digits, or a name in quotes, but got {node.value}")
    for item in node.value if isinstance(node, yaml.SequenceNode) else []:
        _check_address(item, where)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        place, name = f"{where}, line {line_of(key)}", str(key.value)
        if _HYDRA.match(name):
            raise ConfigError(f"{place}: `hydra:` can run code and overwrite files; it is {_ALLOWED}")
        if _RUNS.fullmatch(name):
            raise ConfigError(f"{place}: `{name}` names code to run; it is {_ALLOWED}")
        if name == "defaults":
            _check_defaults(value, where)
        if name != "source":
            _check_address(value, where)
    for child in children_of(node):
        _check_node(child, where, seen)


def _check_address(node: yaml.Node, where: str) -> None:
    """Nothing that a run would fetch, however it is put together."""
    if not isinstance(node, yaml.ScalarNode):
        return
    if _ADDRESS.search(node.value) or _GLUED.fullmatch(_OF_OWN_KEYS.sub("${}", node.value)):
        raise ConfigError(f"{where}, line {line_of(node)}: {node.value!r} may be a network address; it is {_ALLOWED}")


def _check_defaults(node: yaml.Node, where: str) -> None:
    """A defaults list may choose presets of own groups, for own keys."""
    for item in children_of(node):
        for part in [item, *children_of(item), *(deep for child in children_of(item) for deep in children_of(child))]:
            if isinstance(part, yaml.ScalarNode) and not _chooses_own(part.value):
                raise ConfigError(f"{where}, line {line_of(part)}: defaults may not name {part.value!r}; it is {_ALLOWED}")


def _chooses_own(text: str) -> bool:
    return _CHOICE.fullmatch(text) is not None and not _LEAVES.search(text)
