"""The verbs that take overrides, and the flags that are theirs alone: for reading a line, for help, for completion."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cli.shown import SHOWN_FLAGS


@dataclass(frozen=True)
class Flag:
    """A flag as ``--help`` tells it. Without ``text`` the reference tells what the key behind it means."""

    name: str
    value: str = ""
    """What stands behind it; empty = nothing."""
    text: str = ""


SHOWN = (
    Flag("--out", "DIR", "folder of the results (default: one named by date and time)"),
    Flag("--json", "", "one JSON object on standard output instead of tables"),
    Flag("--quiet", "", "no progress on standard error"),
)
HYDRA_VERBS: dict[str, tuple[Flag, ...]] = {
    "run": (Flag("-m", "", "a sweep: every option may be a list A,B,C (the same as `servecap sweep`)"), *SHOWN),
    "sweep": (
        Flag("--launcher", "NAME", "joblib (all cores; default), basic, ray, submitit_slurm"),
        Flag("--sweeper", "NAME", "basic (the whole grid; default), slo (stops what cannot win), optuna"),
        *SHOWN,
    ),
    "size": (
        Flag("--max-num-seqs", "LIST", "batch sizes to try (default: 8 to 1,024 by doubling)"),
        Flag("--gpu", "LIST", "GPU types to choose from"),
        Flag("--max-replicas", "N"),
        Flag("--max-usd-per-hour", "USD"),
        Flag("--replications", "N"),
        *SHOWN,
    ),
    "capacity": (Flag("--replicas", "N", "the fleet whose highest load is asked"), Flag("--load-tolerance", "X"), *SHOWN),
    "decide": (
        Flag("--option", '"NAME: OVERRIDES"', "one more option to set beside the others; may be repeated"),
        Flag("--no-decide-apis", "", "without the APIs that sell the model"),
        *SHOWN,
    ),
}
"""Verb -> its own flags, as its help tells them."""
PARSED_VERBS: dict[str, frozenset[str]] = {
    "calc": frozenset({
        "--usd-per-hour", "--tokens-per-s", "--overhead", "--context-tokens", "--config-dir", "--json",
    }),
    "compare": frozenset({"--seeds", "--json", "--markdown", "--html", "--quiet"}),
    "export": frozenset({"--format", "--out", "--config-dir", "--json"}),
    "explore": frozenset({"--config-dir", "--for-s", "--host", "--json", "--no-browser", "--port", "--workers"}),
    "mock": frozenset({"--config-dir", "--for-s", "--host", "--json", "--most-requests", "--port", "--speed"}),
    "calibrate": frozenset({
        "--out", "--name", "--fix", "--concurrency", "--interval-s", "--any-server", "--json", "--quiet",
    }),
    "keys": frozenset({"--json", "--markdown", "--schema"}),
    "explain": frozenset({"--json"}),
    "traces": frozenset({
        "--block-tokens", "--characters-per-token", "--columns", "--decimal", "--dequantise", "--duration-s", "--folder",
        "--format", "--json", "--lenient", "--lenient-max-loss", "--limit", "--picture", "--quiet", "--rate-per-s",
        "--rate-scale", "--seed", "--sessions-per-s", "--sha256", "--start-s", "--time-format", "--tokenizer",
        "--tokens-per-day", "--url",
    }),
    "prices": frozenset({"--folder", "--gpu", "--json", "--only", "--out"}),
    "guide": frozenset({"--json"}),
    "completion": frozenset({"--json"}),
    "conformance": frozenset({"--json", "--quiet"}),
    "validate": frozenset({"--json", "--quiet"}),
    "report": frozenset({"--grafana", "--json", "--prometheus", "--start"}),
}  # fmt: skip
"""Verb with a parser of its own -> its flags; a test holds them against the parser."""
LONG = frozenset({"compare", "calibrate", "traces", "conformance", "validate"})
"""Of these, verbs that may take minutes: they show progress, unless ``--quiet``."""
TAKE_OVERRIDES = frozenset({*HYDRA_VERBS, "calc", "compare", "export", "calibrate", "explore", "mock"})
"""Verbs on whose line any key may stand."""
USUAL: dict[str, tuple[Flag, ...]] = {
    "Traffic": (
        Flag("--trace", "FILE", "your traffic: a file, folder, glob, pipe or https address; the format is recognised"),
        Flag("--workload", "PRESET"), Flag("--rate-per-s", "X"), Flag("--tokens-per-day", "X"), Flag("--rate-scale", "X"),
        Flag("--duration-s", "S"), Flag("--limit", "N"),
    ),
    "Fleet": (
        Flag("--model", "PRESET"), Flag("--hf-config", "FILE", "a Hugging Face config.json instead of a preset"),
        Flag("--gpu", "PRESET"), Flag("--replicas", "N", "servers of the plain fleet"), Flag("--tensor-parallel-size", "N"),
        Flag("--max-num-seqs", "N"),
        Flag("--vllm", "LINE", "a line of `vllm serve` (SGLang, TensorRT-LLM): engine and model as it says"),
        Flag("--gateway", "PRESET"), Flag("--autoscaler", "PRESET"),
    ),
    "Objective": (
        Flag("--slo", "PRESET"), Flag("--slo-ttft-p95", "S"), Flag("--slo-tpot-p95", "S"), Flag("--slo-e2e-p95", "S"),
    ),
    "Besides": (Flag("--seed", "N"), Flag("--config-dir", "DIR", "a folder of presets of your own: DIR/GROUP/NAME.yaml")),
}  # fmt: skip
"""What most people set, under headings."""


def verb_names() -> list[str]:
    """All verbs."""
    return [*HYDRA_VERBS, *PARSED_VERBS]


def own_flags(verb: str) -> frozenset[str]:
    """The flags of ``verb`` that are no keys."""
    if verb in HYDRA_VERBS:
        return SHOWN_FLAGS | (frozenset({"--option"}) if verb == "decide" else frozenset())
    return PARSED_VERBS.get(verb, frozenset())
