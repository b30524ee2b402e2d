"""What things cost besides the GPUs' hourly price, as stated assumptions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PurchaseSpec:
    """A machine of one's own: ``sim.cost.purchase`` makes an hourly price of it."""

    machine_usd: float = Field(ge=0)
    """What a machine costs to buy, US$."""
    machine_gpus: int = Field(default=8, ge=1)
    """GPUs in one machine; 8 is a usual server's."""
    years: float = Field(default=4.0, gt=0)
    """Over which it is written off; 3 to 5 is usual."""
    machine_w: float | None = Field(default=None, ge=0)
    """Power of the whole machine under this load, W; null = what the run's GPUs draw (``energy``), ``beside_gpus_fraction``
    and the site on top, as a node of its own."""
    beside_gpus_fraction: float = Field(default=0.4, ge=0, le=3)
    """CPUs, memory, fans and network as a share of the GPUs' power, where ``machine_w`` is null; an assumption: at most 0.8
    by the datasheet of a DGX H100 (10.2 kW for 5.6 kW of GPUs)."""
    pue: float = Field(default=1.3, ge=1)
    """Power of the site over power of its machines; 1.1 to 1.6 is usual."""
    usd_per_kwh: float = Field(default=0.12, ge=0)
    """Of electricity; an assumption."""
    hosting_usd_per_month: float = Field(default=0.0, ge=0)
    """Space, network and hands for one machine."""
    used_elsewhere_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the machine's time that others use and pay for."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CommitmentSpec:
    """GPUs reserved for years: cheaper, and paid for when unused. They are the scenario's own GPU, on demand otherwise."""

    gpus: int = Field(ge=1)
    """How many are reserved."""
    years: Literal[1, 3] = 1
    """For how long; it chooses the usual discount."""
    discount_fraction: float | None = Field(default=None, ge=0, lt=1)
    """Off the on-demand price; None: 0.3 for one year, 0.5 for three, the middle of what clouds publish."""

    def discount(self) -> float:
        """The discount stated, or the usual one of so many years."""
        if self.discount_fraction is not None:
            return self.discount_fraction
        return 0.3 if self.years == 1 else 0.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CostSpec:
    """Assumptions of the bill. Defaults add nothing: the number is compute only until one says otherwise.

    Fractions are shares of compute (the GPU bill). Monthly amounts are charged to a run by its share of a month of 730
    hours.
    """

    name: str = "compute_only"
    """What pages call the set of assumptions."""
    overhead_fraction: float = Field(default=0.0, ge=0)
    """Software, storage, operations and safety as a share of compute; 0.2-0.4 is usual."""
    safety_fraction: float = Field(default=0.0, ge=0)
    """Safety classification billed apart from the overhead, as a share of compute; 0.05-0.2 is usual."""
    market: Literal["on_demand", "spot", "reserved"] | None = None
    """Overrides the market of every pool."""
    reserved_discount_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Reserved price = on-demand less this, where a GPU preset holds no reserved price; 0.3-0.6 is usual."""
    output_token_weight: float = Field(default=4.0, gt=0)
    """Busy time is shared among requests by tokens: one sampled token weighs as much as so many prompt tokens;
    an assumption."""
    engineers_fte: float = Field(default=0.0, ge=0)
    """Full-time engineers who run the service."""
    engineer_usd_per_year: float = Field(default=0.0, ge=0)
    """Loaded yearly cost of one of them."""
    eval_gpu_hours_per_month: float = Field(default=0.0, ge=0)
    """GPU-hours of evaluation and batch runs, priced as the dearest pool's GPU."""
    log_bytes_per_token: float = Field(default=0.0, ge=0)
    """Bytes stored for each token that passes (prompt and answer); text is about 4, with traces and metadata 10-20."""
    log_retention_months: float = Field(default=1.0, ge=0)
    """How long stored bytes are kept; an assumption."""
    storage_usd_per_gib_month: float = Field(default=0.0, ge=0)
    """Of stored traces and logs; a standard tier of object storage lists 0.023."""
    host_memory_usd_per_gib_hour: float = Field(default=0.0, ge=0)
    """Of host memory that holds KV (``engine.kv_offloading_size_gib``), while its replica is billed. 0: it comes with the
    GPU server, as in most offers; rented apart, 0.003 to 0.005 a GiB-hour is usual (an assumption)."""
    kv_disk_usd_per_gib_hour: float = Field(default=0.0, ge=0)
    """Of disks that hold KV (``engine.kv_offload.disk``), while their replica is billed. 0: they come with the GPU server,
    as in most offers; rented apart, provisioned SSD lists about 0.0001 a GiB-hour (0.08 a month; an assumption)."""
    kv_store_usd_per_gib_hour: float = Field(default=0.0, ge=0)
    """Of the store of KV that replicas share (``fleet.kv_store``), for the whole run. 0: it is other machines' spare memory;
    machines of its own cost about 0.005 a GiB-hour of memory (memory-optimised clouds' list prices, an assumption)."""
    egress_bytes_per_output_token: float = Field(default=0.0, ge=0)
    """Bytes sent out for each token delivered; streamed as server-sent events 150-250."""
    egress_usd_per_gib: float = Field(default=0.0, ge=0)
    """Of what is sent out; a first tier to the internet lists 0.09."""
    price_folder: str | None = None
    """A folder with ``gpu_prices.csv`` and ``api_prices.csv`` (or one of them): its rows price what they name. A GPU takes
    the median offer of each market; ``gpu.price.*`` on the command line still wins. None = the presets' prices."""
    purchase: PurchaseSpec | None = None
    """The scenario's own GPU is bought, not rented: replaces its price."""
    commitment: CommitmentSpec | None = None
    """GPUs that are paid for whether or not they run."""
    co2_g_per_kwh: float = Field(default=445.0, ge=0, le=2000)
    """CO2 of a kilowatt-hour where the machines stand, grams; the default is an assumption, the world's mean of 2024 (IEA,
    Electricity 2025): 20-60 is hydro or nuclear power, 700-900 coal."""
    assumed_tokens_per_s: float | None = Field(default=None, gt=0)
    """Output tokens a second that a spreadsheet assumes of this fleet: the closed formula is set beside the simulation."""
    source: str = ""
    """Where the assumptions are from; for display."""
