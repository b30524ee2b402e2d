"""Price tables written from the packages' objects, and a folder of one's own that a run is priced by."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim.cli.prices
from sim.cli.compose import composed_scenario
from sim.cli.main import main
from sim.cost import fleet_usd_per_hour
from sim.cost.prices import API_TABLE, GPU_TABLE, api_price, api_prices, gpu_offers, price_spread, with_folder_prices
from sim.cost.refresh import PRESETS, UNLISTED, api_rows, gpu_rows, table_text
from sim.errors import ConfigError

TODAY = date(2026, 11, 24)
ROOT = Path(__file__).parents[3]
GPU_HEAD = "gpu,cloud,instance,region,market,instance_gpus,usd_per_gpu_hour,date,checked,source"
API_HEAD = (
    "provider,model,weights,input_usd_per_1m,cached_input_usd_per_1m,output_usd_per_1m,context_tokens,long_context_tiers,"
    "date,source"
)


@dataclass
class Instance:
    """The shape of ``gpuhunt.CatalogItem``."""

    gpu_name: str | None = "L40S"
    gpu_memory: float | None = 48.0
    gpu_count: int = 1
    price: float = 2.0
    provider: str = "aws"
    instance_name: str = "g6e.xlarge"
    location: str = "us-east-1"
    spot: bool = False


@dataclass
class Model:
    """The shape of ``genai_prices.types.ModelInfo``."""

    id: str
    prices: dict[str, Any]
    context_window: int | None = None

    def get_prices(self, request_timestamp: datetime) -> SimpleNamespace:
        assert request_timestamp.tzinfo is not None
        return SimpleNamespace(**self.prices)


@dataclass
class Provider:
    id: str
    models: list[Model] = field(default_factory=list)


def write_gpus(folder: Path, *rows: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / GPU_TABLE).write_text("\n".join([GPU_HEAD, *rows]) + "\n")
    return folder


def test_an_instance_is_priced_by_the_gpu() -> None:
    (row,) = gpu_rows([Instance(gpu_count=4, price=10.0, spot=True)], TODAY, "s", checked=True)
    assert (row.gpu, row.market, row.instance_gpus, row.usd_per_gpu_hour) == ("l40s", "spot", 4, 2.5)
    assert (row.date, row.checked, row.source) == (TODAY, True, "s")


@pytest.mark.parametrize(
    "left_out",
    [
        Instance(gpu_name="A100", gpu_memory=40.0),
        Instance(gpu_name="V100", gpu_memory=16.0),
        Instance(gpu_name=None, gpu_memory=None, gpu_count=0),
        Instance(price=0.0),
        Instance(gpu_name="H100", gpu_memory=80.0, instance_name="gpu_1x_h100_pcie"),
    ],
    ids=["another_memory", "no_preset", "no_gpu", "no_price", "another_card_of_that_name"],
)
def test_what_no_preset_stands_for_is_left_out(left_out: Instance) -> None:
    assert [row.gpu for row in gpu_rows([left_out, Instance()], TODAY, "s", checked=True)] == ["l40s"]


def test_of_an_instance_in_several_regions_the_cheapest_stays() -> None:
    regions = [Instance(location=place, price=usd) for place, usd in (("a", 3.0), ("b", 1.5), ("c", 1.5))]
    for order in (regions, regions[::-1]):
        (row,) = gpu_rows(order, TODAY, "s", checked=True)
        assert (row.region, row.usd_per_gpu_hour) == ("b", 1.5)


def test_every_preset_has_a_name_to_be_found_by() -> None:
    presets = sorted(path.stem for path in (ROOT / "configs" / "gpu").glob("*.yaml"))
    assert sorted([*PRESETS.values(), *UNLISTED]) == presets


def test_models_sold_by_the_token_become_rows() -> None:
    tiered = SimpleNamespace(base=Decimal(3), tiers=[SimpleNamespace(start=200_000, price=Decimal("6"))])
    groq = Provider(
        "groq",
        [
            Model("new", {"input_mtok": tiered, "cache_read_mtok": Decimal("0.3"), "output_mtok": Decimal("15")}, 1000),
            Model("llama-3.1-8b-instant", {"input_mtok": Decimal("0.05"), "output_mtok": Decimal("0.08")}),
            Model("whisper", {"audio_hours": Decimal("0.36")}),
        ],
    )
    known, new = api_rows([groq], datetime(2026, 11, 24, 12, tzinfo=UTC), "s")
    assert (known.model, known.weights, known.cached_input_usd_per_1m) == ("llama-3.1-8b-instant", "open-weights", 0.05)
    assert (new.input_usd_per_1m, new.cached_input_usd_per_1m, new.output_usd_per_1m) == (3.0, 0.3, 15.0)
    assert (new.weights, new.context_tokens, new.date) == ("unknown", 1000, TODAY)
    assert new.long_context_tiers == "input_mtok:>200000:6"


@given(
    usd=st.floats(0.01, 50.0).map(lambda x: float(f"{x:.6g}")),
    gpus=st.integers(1, 16),
    spot=st.booleans(),
    checked=st.booleans(),
    place=st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=9),
)
def test_a_table_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, usd: float, gpus: int, spot: bool, checked: bool, place: str
) -> None:
    folder = tmp_path_factory.mktemp("table")
    instance = Instance(price=usd * gpus, gpu_count=gpus, spot=spot, location=place)
    rows = gpu_rows([instance], TODAY, 'a "source", with commas', checked=checked)
    (folder / GPU_TABLE).write_text(table_text(rows))
    assert gpu_offers("l40s", folder=folder) == rows


def test_the_packaged_tables_have_the_columns_that_are_written() -> None:
    for name, rows, head in ((GPU_TABLE, gpu_offers(), GPU_HEAD), (API_TABLE, api_prices(), API_HEAD)):
        assert (ROOT / "sim" / "cost" / name).read_text().splitlines()[0] == head
        assert table_text(rows).splitlines()[0] == head


def test_the_folder_replaces_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    write_gpus(tmp_path, "l40s,mine,box,here,on_demand,2,9.5,2026-11-20,true,invoice")
    assert [offer.cloud for offer in gpu_offers("l40s", folder=tmp_path)] == ["mine"]
    assert gpu_offers("h100", folder=tmp_path) == gpu_offers("h100")
    assert api_prices(tmp_path) == api_prices()
    assert price_spread("l40s", folder=tmp_path) == (9.5, 9.5, 9.5)
    (tmp_path / API_TABLE).write_text(f"{API_HEAD}\ngroq,llama-3.1-8b-instant,open-weights,1,,2,,,2026-11-20,offer\n")
    assert api_price("groq", "llama-3.1-8b-instant", tmp_path).output_usd_per_1m == 2.0
    assert len(api_prices(tmp_path)) == len(api_prices())


def test_a_run_is_priced_by_the_folder(tmp_path: Path) -> None:
    folder = write_gpus(
        tmp_path,
        "l40s,a,x1,r,on_demand,1,3.0,2026-11-20,true,list",
        "l40s,b,x8,r,on_demand,8,5.0,2026-11-21,true,list",
        "l40s,c,x1,r,on_demand,1,7.0,2026-11-22,true,list",
        "l40s,d,x1,r,on_demand,1,0.1,2026-11-22,false,memory",
    )
    priced = composed_scenario([f"cost.price_folder={folder}", "fleet.replicas=8"])
    plain = composed_scenario(["fleet.replicas=8"])
    price = priced.gpu.price
    assert (price.on_demand_usd_per_hour, price.instance_gpus, price.date) == (5.0, 8, "2026-11-21")
    assert price.spot_usd_per_hour == plain.gpu.price.spot_usd_per_hour and "spot as before" in price.source
    assert fleet_usd_per_hour(priced) == pytest.approx(8 * 5.0)
    assert fleet_usd_per_hour(priced) != fleet_usd_per_hour(plain)


def test_the_instance_is_that_of_the_market_bought(tmp_path: Path) -> None:
    folder = write_gpus(
        tmp_path,
        "l40s,a,x8,r,on_demand,8,3.0,2026-11-20,true,list",
        "l40s,b,x1,r,spot,1,1.0,2026-11-21,false,hearsay",
    )
    wanted = {"on_demand": (8, "2026-11-20"), "spot": (1, "2026-11-21"), "reserved": (8, "2026-11-20")}
    for market, instance in wanted.items():
        price = composed_scenario([f"cost.price_folder={folder}", f"cost.market={market}"]).gpu.price
        assert (price.instance_gpus, price.date) == instance
        assert "(list)" in price.source and "(hearsay; not checked)" in price.source


def test_a_pool_with_its_own_gpu_is_priced_too(tmp_path: Path) -> None:
    folder = write_gpus(tmp_path, "h100,a,x1,r,on_demand,1,3.25,2026-11-20,true,list")
    plain = composed_scenario([])
    pool = replace(plain.fleet.all_pools()["main"], gpu=composed_scenario(["gpu=h100"]).gpu)
    mixed = replace(
        plain, fleet=replace(plain.fleet, pools={"big": pool}), cost=replace(plain.cost, price_folder=str(folder))
    )
    priced = with_folder_prices(mixed).fleet.pools["big"].gpu
    assert priced is not None and priced.price.on_demand_usd_per_hour == 3.25


def test_a_gpu_without_a_row_keeps_its_price_and_an_override_wins(tmp_path: Path) -> None:
    folder = write_gpus(tmp_path, "l40s,a,x1,r,on_demand,1,3.0,2026-11-20,true,list")
    other = composed_scenario([f"cost.price_folder={folder}", "gpu=h100"])
    assert other.gpu == composed_scenario(["gpu=h100"]).gpu
    stated = composed_scenario([f"cost.price_folder={folder}", "gpu.price.on_demand_usd_per_hour=1.25"])
    assert stated.gpu.price.on_demand_usd_per_hour == 1.25
    plain = composed_scenario([])
    assert with_folder_prices(plain) is plain


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("l40s,a,x,r,on_demand,1,cheap,2026-11-20,true,s", ["row 2", "cheap"]),
        ("l40s,a,x,r,on_demand,1,nan,2026-11-20,true,s", ["row 2", "nan"]),
        ("l40s,a,x,r,on_demand,1,-1,2026-11-20,true,s", ["row 2", "-1"]),
        ("l40s,a,x,r,on_demand,0,1,2026-11-20,true,s", ["row 2", "instance_gpus"]),
        ("l40s,a,x,r,monthly,1,1,2026-11-20,true,s", ["row 2", "monthly", "on_demand"]),
        ("l40s,a,x,r,on_demand,1,1,yesterday,true,s", ["row 2", "yesterday"]),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        gpu_offers(folder=write_gpus(tmp_path, row))
    assert all(word in str(caught.value) for word in [GPU_TABLE, *words])


def test_a_table_with_other_columns_says_which_it_needs(tmp_path: Path) -> None:
    (tmp_path / GPU_TABLE).write_text("gpu,price\nl40s,1\n")
    with pytest.raises(ConfigError, match=r"lacks the column 'market'; it needs gpu, cloud"):
        gpu_offers(folder=tmp_path)


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_bad_folder_ends_a_run_with_2_and_one_message(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"cost.price_folder={folder}"]) == 2
    err = capsys.readouterr().err
    assert "cost.price_folder" in err and "refresh --out" in err and "Traceback" not in err


@pytest.mark.parametrize(("only", "package"), [("gpu", "gpuhunt"), ("api", "genai-prices")])
def test_a_missing_package_ends_with_2_and_how_to_get_it(
    tmp_path: Path, only: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(sim.cli.prices.importlib, "import_module", absent)
    with pytest.raises(ConfigError) as caught:
        sim.cli.prices.main(["refresh", "--out", str(tmp_path / "out"), "--only", only])
    assert package in str(caught.value) and "pip install 'servecap[prices]'" in str(caught.value)
    assert caught.value.exit_code == 2 and not (tmp_path / "out").exists()


def test_list_prints_every_row_its_source_and_its_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "list", "--gpu", "a10g"]) == 0
    out = capsys.readouterr().out
    assert sum(line.startswith("a10g ") for line in out.splitlines()) == len(gpu_offers("a10g"))
    assert "[1] " in out and "Note: the price of a10g at aws was not checked at a source." in out
    assert main(["prices", "list", "--only", "api"]) == 0
    out = capsys.readouterr().out
    assert all(row.model in out for row in api_prices()) and "US$/GPU-h" not in out
    assert main(["prices", "list", "--gpu", "tpu"]) == 2
    assert "l40s" in capsys.readouterr().err


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # it leaves files open
def test_the_real_gpuhunt_with_a_catalog_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpuhunt = pytest.importorskip("gpuhunt", reason="the extra `prices` (gpuhunt) is not installed")
    item = gpuhunt.CatalogItem(
        "aws", "g6e.12xlarge", "us-east-1", 10.0, 48, 384.0, 4, "L40S", 48.0, False, None, gpuhunt.AcceleratorVendor.NVIDIA
    )  # fmt: skip
    assert [row.usd_per_gpu_hour for row in gpu_rows([item], TODAY, "s", checked=True)] == [2.5]
    columns = (
        "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags,cpu_arch,"
        "provider_data"
    )
    (tmp_path / "aws.csv").write_text(f"{columns}\ng6e.12xlarge,us-east-1,10,48,384.0,4,L40S,48.0,True,,nvidia,,x86,{{}}\n")
    monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path))
    assert main(["prices", "refresh", "--out", str(tmp_path / "out"), "--only", "gpu"]) == 0
    assert "1 offers of 1 GPUs at aws" in capsys.readouterr().out
    (row,) = gpu_offers("l40s", folder=tmp_path / "out")
    assert (row.market, row.usd_per_gpu_hour, row.checked, row.date) == ("spot", 2.5, False, date.today())
    monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path / "out"))
    assert main(["prices", "refresh", "--out", str(tmp_path / "again"), "--only", "gpu"]) == 2
    assert "gpuhunt cannot read its catalog" in capsys.readouterr().err


def test_the_real_genai_prices_agree_with_its_own_bill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genai_prices = pytest.importorskip("genai_prices", reason="the extra `prices` (genai-prices) is not installed")
    assert main(["prices", "refresh", "--out", str(tmp_path), "--only", "api"]) == 0
    assert "cost.price_folder=" in capsys.readouterr().out
    with (tmp_path / API_TABLE).open(encoding="utf-8") as file:
        assert sum(1 for _ in csv.DictReader(file)) > 500
    for provider, model in (("groq", "llama-3.1-8b-instant"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4o")):
        usage = genai_prices.Usage(input_tokens=10_000, cache_read_tokens=4_000, output_tokens=2_000)
        theirs = genai_prices.calc_price(usage, model, provider_id=provider).total_price
        ours = api_price(provider, model, tmp_path).bill_usd(10_000, 2_000, 4_000)
        assert ours == pytest.approx(float(theirs))
