"""What may stand where the cursor is: verbs, flags, groups, presets, keys, values, files.

A shell's script (``servecap completion bash|zsh|fish``) hands over the line up to the cursor and gets back one candidate a
line, in bash the bare rest of the word that readline replaces, in zsh and fish the whole word with its meaning. Nothing
here imports the specs or Hydra: an answer takes less than a tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path

from sim.cli.front.flags import flag_table, key_of
from sim.cli.front.reference import plain_keys, reference_rows
from sim.cli.front.verbs import HYDRA_VERBS, LONG, PARSED_VERBS, TAKE_OVERRIDES, USUAL, own_flags
from sim.cli.front.words import HYDRA_VALUES
from sim.cli.guide import pages
from sim.presets.packaged import packaged_presets

SHELLS = ("bash", "zsh", "fish")
SUBVERBS = {"traces": ("stats", "convert", "synth", "fit", "fetch"), "prices": ("list", "refresh"), "completion": SHELLS}
_PATHS = {"workload.path", "model.hf_config", "cost.price_folder", "engine.step_time_file", "workload.tokenizer"}
_PATH_FLAGS = {"--out", "--config-dir", "-cd", "--folder", "--picture", "--markdown", "--prometheus", "--grafana"}
_HYDRA = {
    "hydra/launcher": ("basic", "joblib", "ray", "submitit_slurm"), "hydra/sweeper": ("basic", "slo", "optuna"),
    "hydra.sweep.dir": (), "hydra.run.dir": (),
}  # fmt: skip
_BOOLEAN = ("true", "false")

Candidate = tuple[str, str]
"""A word, and what it means."""


def main(argv: Sequence[str]) -> int:
    """``servecap completion SHELL``: print the script that makes a shell complete servecap."""
    parser = argparse.ArgumentParser(
        prog="servecap completion", description='The script for a shell: eval "$(servecap completion bash)"',
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS)
    parser.add_argument("--json", action="store_true", help="one JSON object: the script")
    options = parser.parse_args(list(argv))
    text = (resources.files("sim.cli.front") / f"servecap.{options.shell}").read_text(encoding="utf-8")
    print(json.dumps({"shell": options.shell, "script": text}) if options.json else text, end="")
    return 0


def answer(verbs: Mapping[str, str], shell: str, line: str, breaks: str = "=:") -> str:
    """The candidates for the end of ``line``, as ``shell`` wants them; ``breaks``: at which signs bash parts words."""
    words = _words_of(line)
    found = dict(reversed(list(candidates(words[:-1], words[-1], verbs))))
    ordered = sorted(found.items(), key=lambda item: (item[0].startswith("-"), item[0]))
    if shell != "bash":
        return "\n".join(f"{word}\t{meaning}" for word, meaning in ordered)
    glued = max((words[-1].rfind(sign) for sign in "=:" if sign in breaks), default=-1) + 1
    return "\n".join(re.sub(r"([\s'\"()&;|<>$`\\])", r"\\\1", word[glued:]) for word, _ in ordered)


def candidates(before: Sequence[str], word: str, verbs: Mapping[str, str]) -> Iterator[Candidate]:
    """What ``word`` may become, behind the words ``before`` (the program's name not among them)."""
    for candidate, meaning in _all(before, word, verbs):
        if candidate.startswith(word) and candidate != word:
            yield candidate, meaning


def _all(before: Sequence[str], word: str, verbs: Mapping[str, str]) -> Iterator[Candidate]:
    verb = before[0] if before and before[0] in verbs else "run"
    if not before:
        yield from verbs.items()
    previous = before[-1] if before else ""
    if previous in HYDRA_VALUES | _PATH_FLAGS and previous not in ("-c", "--cfg"):
        yield from _files(word)
    elif previous in ("-c", "--cfg"):
        yield from ((one, "") for one in ("job", "hydra", "all"))
    elif previous.startswith("-") and (found := key_of(previous)) is not None and not _is_switch(found[0]):
        yield from _values(found[0], word, "", before)
    elif word.startswith("-"):
        yield from _flags(verb, word)
    elif "=" in word:
        key, _, value = word.partition("=")
        yield from _values(key.lstrip("+~"), value, f"{key}=", before)
    else:
        yield from _bare(verb, before, word)


def _bare(verb: str, before: Sequence[str], word: str) -> Iterator[Candidate]:
    """A word that is no flag and holds no value yet."""
    if verb == "guide":
        yield from ((one, "") for one in pages())
    if verb in SUBVERBS and len(before) == 1:
        yield from ((one, "") for one in SUBVERBS[verb])
        return
    if verb in ("keys", "explain"):
        yield from ((row.key, row.meaning) for row in reference_rows())
    elif verb in TAKE_OVERRIDES:
        yield from _keys(word)
    if verb in PARSED_VERBS and verb not in ("keys", "explain", "calc", "export", "guide"):
        yield from _files(word)


def _flags(verb: str, word: str) -> Iterator[Candidate]:
    """The verb's own and the usual ones; all keys' once something is typed."""
    rows, table = plain_keys(), flag_table()
    meanings = {flag: rows[key].meaning if key in rows else f"a preset of {key}" for flag, key in table.items()}
    usual = [flag for flags in (HYDRA_VERBS.get(verb, ()), *USUAL.values()) for flag in flags]
    told = {flag.name: flag.text or meanings[flag.name] for flag in usual}
    own = dict.fromkeys(own_flags(verb), "") | {"--help": "what this verb takes"}
    if verb in LONG:
        own["--quiet"] = "no progress on standard error"
    if verb not in TAKE_OVERRIDES:
        yield from own.items()
        return
    yield from (own | told).items()
    if len(word) > 2:
        for flag, key in table.items():
            if not flag.endswith("-s") or table.get(flag.removesuffix("-s")) != key:
                yield flag, meanings[flag]


def _keys(word: str) -> Iterator[Candidate]:
    """Groups, and keys level by level."""
    prefix, dot, _ = word.rpartition(".")
    for group in packaged_presets():
        yield f"{group}=", "a preset"
    yield from ((f"{key}=", "") for key in _HYDRA)
    for key, row in plain_keys().items():
        place, _, name = key.rpartition(".")
        if place == prefix:
            yield f"{key}=", row.meaning
        elif key.startswith(prefix + dot):
            rest = key[len(prefix) + len(dot) :]
            yield f"{prefix}{dot}{rest.partition('.')[0]}.", name and "keys"


def _values(key: str, value: str, head: str, before: Sequence[str]) -> Iterator[Candidate]:
    """Values of ``key``, behind ``head`` and the values of a list that stand already."""
    stem, comma, last = value.rpartition(",")
    head += stem + comma
    row = plain_keys().get(key)
    if key in packaged_presets():
        legal: Sequence[str] = sorted(packaged_presets()[key] | _own_presets(key, before))
    elif _HYDRA.get(key):
        legal = _HYDRA[key]
    elif key in _PATHS or key in _HYDRA:
        yield from ((head + path, meaning) for path, meaning in _files(last))
        return
    elif row is not None:
        legal = _BOOLEAN if row.boolean else row.choices
    else:
        legal = ()
    yield from ((head + one, "") for one in legal if one not in stem.split(","))


def _is_switch(key: str) -> bool:
    row = plain_keys().get(key)
    return row is not None and row.boolean


def _own_presets(group: str, before: Sequence[str]) -> set[str]:
    """Presets in the configuration folders that the line names."""
    folders = [word.partition("=")[2] for word in before if word.startswith(("--config-dir=", "-cd="))]
    folders += [after for flag, after in pairwise(before) if flag in ("--config-dir", "-cd")]
    return {file.stem for folder in folders for file in (Path(folder) / group).glob("*.yaml")}


def _files(word: str) -> Iterator[Candidate]:
    folder, slash, begun = word.rpartition("/")
    place = Path(os.path.expanduser(folder + slash) or ".")  # noqa: PTH111 (a lone ~ stays as typed)
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(begun) and (begun or not entry.name.startswith(".")):
            yield f"{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}", ""


def _words_of(line: str) -> list[str]:
    """The words of a line behind the program's name, the last one (perhaps empty) that of the cursor."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        for token in lexer:
            words.append(token)
    except ValueError:  # an open quote
        words.append(re.split(r"\s", line)[-1].lstrip("'\""))
    else:
        if line[-1:].isspace() or not line:
            words.append("")
    while words[:1] and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)  # NAME=value before the program
    program = 3 if len(words) > 3 and re.search(r"python[\d.]*$", words[0]) and words[1:3] == ["-m", "sim"] else 1
    return words[program:] or [""]
