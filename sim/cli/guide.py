"""``servecap guide [PAGE]``: the reading pages (experiments/guide) in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import resources

from sim.errors import ConfigError


def main(argv: Sequence[str]) -> int:
    """Show one page, or the list of them."""
    parser = argparse.ArgumentParser(prog="servecap guide", description="The reading pages; without a name, their list.")
    parser.add_argument("page", nargs="?", default="README", help="e.g. concepts, first_half_hour, own_trace, questions")
    parser.add_argument("--json", action="store_true", help="one JSON object: the page's name and its Markdown")
    options = parser.parse_args(list(argv))
    text = page(options.page)
    if options.json:
        print(json.dumps({"page": options.page, "markdown": text}))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        print(text, end="")
    return 0


def pages() -> list[str]:
    """The names of the pages."""
    files = resources.files("sim.guide").iterdir()
    return sorted(file.name.removesuffix(".md") for file in files if file.name.endswith(".md"))


def page(name: str) -> str:
    """The Markdown of a page.

    Raises:
        ConfigError: there is none of this name.
    """
    wanted = name.removesuffix(".md").replace("-", "_").replace(" ", "_")
    if wanted not in pages():
        from sim.spec.legal_keys import did_you_mean  # with the specs, which completion does without

        raise ConfigError(f"guide: no page {name!r}{did_you_mean(wanted, pages())} There are {', '.join(pages())}")
    return (resources.files("sim.guide") / f"{wanted}.md").read_text(encoding="utf-8")
