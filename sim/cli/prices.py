"""``servecap prices list|refresh``: the dated price tables shown, and written anew from the price packages.

``refresh --out DIR`` asks gpuhunt (network; ``GPUHUNT_CATALOG_DIR`` names a catalog on disk instead) and genai-prices (the
prices that the installed release carries, no network). A run uses the folder with ``cost.price_folder=DIR``.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType

from sim.cost.prices import (
    API_TABLE,
    GPU_TABLE,
    ApiPrice,
    GpuOffer,
    api_prices,
    gpu_offers,
    price_warnings,
)
from sim.cost.refresh import api_rows, gpu_rows, table_text
from sim.errors import ConfigError
from sim.report import write_text
from sim.report.run_folder import json_text

_TABLES = ("gpu", "api")


def main(argv: Sequence[str]) -> int:
    """Run one of the verbs; return the exit code."""
    arguments = _parser().parse_args(argv)
    action: Callable[[argparse.Namespace], None] = arguments.action
    action(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="servecap prices", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="list|refresh")
    shown = verbs.add_parser("list", help="the tables, each row with its date and source, and what to know about them")
    shown.add_argument("--folder", type=Path, help="also read this folder, as cost.price_folder does")
    shown.add_argument("--only", choices=_TABLES, help="one of the two tables")
    shown.add_argument("--gpu", help="the offers of this preset alone, e.g. l40s")
    shown.add_argument("--json", action="store_true", help="one JSON object: offers of GPUs, prices of APIs, warnings")
    shown.set_defaults(action=_list)
    refresh = verbs.add_parser("refresh", help=f"write {GPU_TABLE} and {API_TABLE} from gpuhunt and genai-prices")
    refresh.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write them into")
    refresh.add_argument("--only", choices=_TABLES, help="one of the two tables")
    refresh.add_argument("--json", action="store_true", help="one JSON object: the files written")
    refresh.set_defaults(action=_refresh)
    return parser


def _list(arguments: argparse.Namespace) -> None:
    warnings: list[str] = []
    offers: list[GpuOffer] = []
    rows: list[ApiPrice] = []
    if arguments.only != "api":
        offers = gpu_offers(arguments.gpu, folder=arguments.folder)
        if not offers:
            known = ", ".join(sorted({offer.gpu for offer in gpu_offers(folder=arguments.folder)}))
            raise ConfigError(f"no price of a GPU {arguments.gpu!r}; the tables have {known}")
        offers = sorted(offers, key=lambda offer: (offer.gpu, offer.market, offer.usd_per_gpu_hour))
        warnings += price_warnings(offers, date.today())
    if arguments.only != "gpu" and arguments.gpu is None:
        rows = api_prices(arguments.folder)
        warnings += price_warnings(rows, date.today())
    if arguments.json:
        print(json_text({
            "gpus": [asdict(one) for one in offers], "apis": [asdict(one) for one in rows],
            "notes": list(dict.fromkeys(warnings)),
        }))  # fmt: skip
        return
    if offers:
        _print_gpus(offers)
    if rows:
        _print_apis(rows)
    for line in dict.fromkeys(warnings):
        print(f"Note: {line}.")


def _print_gpus(offers: Sequence[GpuOffer]) -> None:
    headings = ("gpu", "market", "US$/GPU-h", "cloud", "instance", "GPUs", "region")
    cells = [
        (one.gpu, one.market, f"{one.usd_per_gpu_hour:.4g}", one.cloud, one.instance, f"{one.instance_gpus}", one.region)
        for one in offers
    ]
    _print_table(headings, cells, [f"{one.source}{'' if one.checked else ' (not checked)'}" for one in offers], offers)


def _print_apis(rows: Sequence[ApiPrice]) -> None:
    headings = ("provider", "model", "weights", "US$/1M in", "cached", "out")
    cells = [
        (one.provider, one.model, one.weights, f"{one.input_usd_per_1m:.4g}", f"{one.cached_input_usd_per_1m:.4g}",
         f"{one.output_usd_per_1m:.4g}")
        for one in rows
    ]  # fmt: skip
    _print_table(headings, cells, [one.source for one in rows], rows)


def _print_table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], sources: Sequence[str], dated: Sequence[GpuOffer | ApiPrice]
) -> None:
    """Aligned lines, each with its date and the number of its source; the sources below, once each."""
    numbers = {source: number for number, source in enumerate(dict.fromkeys(sources), start=1)}
    table = [(*headings, "date", "source")]
    for row, source, one in zip(cells, sources, dated, strict=True):
        table.append((*row, one.date.isoformat(), f"[{numbers[source]}]"))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for source, number in numbers.items():
        print(f"[{number}] {source}")
    print()


def _refresh(arguments: argparse.Namespace) -> None:
    """Both tables are made before either is written: a refresh that fails leaves the folder as it was."""
    texts: dict[str, tuple[str, str]] = {}
    if arguments.only != "api":
        offers = _gpus_today()
        clouds = ", ".join(sorted({offer.cloud for offer in offers}))
        words = f"{len(offers)} offers of {len({offer.gpu for offer in offers})} GPUs at {clouds}"
        texts[GPU_TABLE] = table_text(offers), words
    if arguments.only != "gpu":
        rows = _apis_today()
        words = f"{len(rows)} models at {len({row.provider for row in rows})} providers, {rows[0].source}"
        texts[API_TABLE] = table_text(rows), words
    for name, (text, words) in texts.items():
        write_text(arguments.out / name, text)
        if not arguments.json:
            print(f"{arguments.out / name}: {words}")
    if arguments.json:
        print(json_text({"files": {str(arguments.out / name): words for name, (_, words) in texts.items()}}))
        return
    print(f"A run uses them with cost.price_folder={arguments.out}")


def _gpus_today() -> list[GpuOffer]:
    gpuhunt = _package("gpuhunt", "gpuhunt")
    on_disk = os.environ.get("GPUHUNT_CATALOG_DIR")
    catalog = gpuhunt.Catalog(auto_reload=False)
    logger = logging.getLogger("gpuhunt")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # it logs a traceback for each cloud that cannot be read
    try:
        if on_disk is None:
            catalog.load()
        clouds = sorted(path.stem for path in Path(on_disk).glob("*.csv")) if on_disk is not None else None
        items = catalog.query(provider=clouds)
    except (gpuhunt.GPUHuntError, OSError, ValueError) as error:
        raise ConfigError(
            f"gpuhunt cannot read its catalog: {error}. It needs the network, or GPUHUNT_CATALOG_DIR=DIR with CLOUD.csv "
            "files; `--only api` refreshes the API prices alone"
        ) from None
    finally:
        logger.setLevel(before)
    source = f"gpuhunt {metadata.version('gpuhunt')}" + (f", catalog in {on_disk}" if on_disk else "")
    offers = gpu_rows(items, date.today(), source, checked=on_disk is None)  # how old a file on disk is, nobody knows
    if not offers:
        raise ConfigError(f"{source} has no offer of a GPU that has a preset")
    return offers


def _apis_today() -> list[ApiPrice]:
    data = _package("genai_prices.data", "genai-prices")
    version = metadata.version("genai-prices")
    source = f"genai-prices {version} (PyPI, MIT, github.com/pydantic/genai-prices), bundled snapshot"
    return api_rows(data.providers, datetime.now(UTC), source)


def _package(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(f"{package} is not installed; python -m pip install 'servecap[prices]' brings it") from None
