"""What stands on a command line, with every flag of a key as the override that it means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sim.cli.front.flags import key_of, override_of, row_of, unknown_flag
from sim.errors import ConfigError

HYDRA_SWITCHES = frozenset({
    "-h", "--help", "--hydra-help", "--version", "--resolve", "-r", "--run", "-m", "--multirun", "-sc", "--shell-completion",
    "-i", "--info",
})  # fmt: skip
HYDRA_VALUES = frozenset({
    "-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
    "--experimental-rerun",
})  # fmt: skip
"""Flags of Hydra's that take one value."""
_NUMBER = re.compile(r"-[\d.]")


def as_overrides(arguments: Sequence[str], own: frozenset[str] = frozenset()) -> list[str]:
    """``arguments`` with the flags of keys as overrides, in their places; ``own`` flags of a verb and Hydra's stay.

    Raises:
        ConfigError: a flag that nobody knows, one without its value, or a key stated twice, by flags or by a flag and an
            override.
    """
    words = list(_read(arguments, own))
    by_flag = {_key(word): word for word, flag in words if flag}
    for word, flag in words:
        if not flag and "=" in word and _key(word) in by_flag:
            raise ConfigError(f"{_key(word)} is stated twice: {word}, and by a flag {by_flag[_key(word)]}; state it once")
    return [word for word, _ in words]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def flags_apart(arguments: Sequence[str], own: frozenset[str] = frozenset()) -> tuple[list[str], list[str]]:
    """What is no flag of a key, and the overrides that such flags mean.

    Raises:
        ConfigError: as ``as_overrides``.
    """
    words = list(_read(arguments, own))
    return [word for word, flag in words if not flag], [word for word, flag in words if flag]


def _read(arguments: Sequence[str], own: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Each word in Hydra's grammar, and whether it was a flag of a key."""
    rest, stated = list(arguments), dict[str, str]()
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not _looks_like_a_flag(flag) or flag in own or _hydras(flag, HYDRA_SWITCHES):
            yield word, False
        elif _hydras(flag, HYDRA_VALUES):
            yield word, False
            if not equals and rest:
                yield rest.pop(0), False
        else:
            found = key_of(flag)
            if found is None:
                raise unknown_flag(flag, own)
            key, off = found
            if key in stated:
                raise ConfigError(f"{flag} is stated twice; several values of a sweep are one list: {flag} A,B")
            stated[key] = flag
            yield override_of(key, "false" if off else value if equals else _value(flag, key, rest, own)), True


def _looks_like_a_flag(word: str) -> bool:
    """Neither a number below zero, nor standard input (-), nor flags in one string, as a side of a comparison is."""
    return word.startswith("-") and word != "-" and " " not in word and not _NUMBER.match(word)


def _hydras(flag: str, known: frozenset[str]) -> bool:
    """Whether ``flag`` is one of ``known``, or the beginning of one that no key's flag is."""
    begins = len(flag) > 5 and any(one.startswith(flag) for one in known)
    return flag in known or (begins and key_of(flag) is None)


def _value(flag: str, key: str, rest: list[str], own: frozenset[str]) -> str:
    """What ``flag`` is set to, taken from the words behind it."""
    row = row_of(key)
    following = rest[0] if rest else ""
    if row is not None and row.boolean and following.lower() not in ("true", "false"):
        return "true"
    after = following.partition("=")[0]
    if not rest or (_looks_like_a_flag(after) and (after in own or key_of(after) is not None)):
        legal = "" if row is None else f" ({'; '.join(part for part in (row.unit, row.legal) if part)})"
        raise ConfigError(f"{flag}: expected a value of {key}{legal}, e.g. {flag} {_example(key)}")
    return rest.pop(0)


def _example(key: str) -> str:
    row = row_of(key)
    if row is None:
        return "NAME"
    default = row.default if row.default not in ("null", "(to be stated)", "(empty)", "") else ""
    return default or (row.choices[0] if row.choices else "1" if row.type.startswith(("int", "float")) else "VALUE")
