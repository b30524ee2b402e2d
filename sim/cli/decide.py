"""``servecap decide``: options side by side at the same traffic and SLO.

    servecap decide [overrides] [--option "NAME: overrides"]... [--json]

Each option is the configuration with its own overrides on top (``decide.options.NAME``, or ``--option``); without one the
configuration itself stands for home. The APIs that sell the model come from the dated price table, and from ``api=``.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from sim.analysis import price
from sim.cli.compose import composed_scenario
from sim.cli.front.words import as_overrides
from sim.decision import Option, Row, apis_of_options, decide_options
from sim.decision.table import answer_words, pace_words
from sim.errors import ConfigError
from sim.report import write_json, write_run, write_text
from sim.report.names import models_of, traffic_name
from sim.report.options import options_markdown, options_page, print_options
from sim.report.run_folder import json_text
from sim.spec import Scenario, scenario_to_dict
from sim.watch import watch_of_this_job

_OWN = ("decide.", "experiment=", "hydra.")


def decide_arguments(argv: Sequence[str]) -> list[str]:
    """``argv`` in Hydra's words."""
    arguments: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument == "--json":
            arguments.append("decide.show=json")
        elif argument == "--option" or argument.startswith("--option="):
            text = argument.partition("=")[2] if "=" in argument else next(rest, "")
            name, colon, overrides = text.partition(":")
            if not colon or not name.strip():
                raise ConfigError(f'--option: expected "NAME: overrides", but got {text!r}')
            quoted = overrides.strip().replace("\\", "\\\\").replace("'", "\\'")
            arguments.append(f"++decide.options.{_as_key(name.strip())}='{quoted}'")
        else:
            arguments.append(argument)
    if not any(argument.lstrip("+").startswith("decide.enabled=") for argument in arguments):
        arguments.append("decide.enabled=true")
    return arguments


def _words(text: str) -> list[str]:
    """``text`` as a shell splits it, but for blanks within brackets: ``gateway.hybrid={uncertain_fraction: 0.2}`` is one."""
    words: list[str] = []
    for word in shlex.split(text):
        open_yet = words and sum(words[-1].count(sign) for sign in "{[(") > sum(words[-1].count(sign) for sign in "}])")
        if open_yet:
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def _as_key(name: str) -> str:
    """``name`` as Hydra can read a key: letters, digits and underscores, no digit first."""
    key = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{key}" if key[0].isdigit() else key


def options_of(scenario: Scenario, overrides: Sequence[str]) -> list[Option]:
    """What ``scenario``, composed from ``overrides``, asks to set side by side.

    Raises:
        ConfigError: an option's overrides are wrong; the message names the option.
    """
    base = [override for override in overrides if not override.lstrip("+").startswith(_OWN)]
    experiment = [override for override in overrides if override.lstrip("+").startswith("experiment=")]
    found = []
    for name, text in scenario.decide.options.items():
        try:
            own = as_overrides(_words(text))
            kept = [one for one in base if _key(one) not in {_key(other) for other in own}]
            found.append(Option(name.removeprefix("_"), composed_scenario([*experiment, *kept, *own])))
        except ConfigError as error:
            raise ConfigError(f"decide.options.{name}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"decide.options.{name}: {text!r} is no set of overrides ({error})") from None
    if not found:
        found = [Option("as configured", scenario)]
    return [*found, *apis_of_options(found, scenario.decide.apis)]


def run_decide(scenario: Scenario, folder: Path, overrides: Sequence[str]) -> list[Row]:
    """Simulate, size and compare; leaves ``decide.json``, ``decide.html``, ``decide.md`` and a run folder an option."""
    options = options_of(scenario, overrides)
    silent = watch_of_this_job().silent
    if not silent:
        print(f"Setting {len(options)} options side by side", file=sys.stderr)
    sized: list[Row] = []

    def on_row(row: Row) -> None:
        sized.append(row)
        if not silent:
            print(f"  {row.name}: ${row.usd_per_month:,.0f} a month", file=sys.stderr)

    try:
        rows = decide_options(options, on_row)
    except KeyboardInterrupt:
        kept = {"interrupted": True, "options": [row.as_dict() for row in sized]}
        write_json(folder / "decide.json", kept)
        print(f"servecap: the {len(sized)} options sized so far are in {folder / 'decide.json'}", file=sys.stderr)
        raise
    title = f"{models_of(scenario)}, {traffic_name(scenario)}: {len(rows)} options under the SLO {scenario.slo.name}"
    for row in rows:
        if row.answer is not None:
            config = yaml.safe_dump(scenario_to_dict(row.answer.scenario), sort_keys=False, allow_unicode=True)
            name = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in row.name)
            write_run(
                folder / "options" / name, row.answer.result, row.answer.summary, price(row.answer.result), config,
                {"option": row.name},
            )  # fmt: skip
    facts = {"answer": answer_words(rows), "note": pace_words(rows), "options": [row.as_dict() for row in rows]}
    write_json(folder / "decide.json", facts)
    write_text(folder / "decide.html", options_page(rows, title))
    write_text(folder / "decide.md", options_markdown(rows, title))
    if scenario.decide.show == "json":
        print(json_text(facts))
    else:
        print_options(rows)
        print(f"Written to {folder}")
    return rows


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
