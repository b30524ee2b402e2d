"""Writes ``sim/perf/hf_config/class_defaults.json``: sizes that configuration classes have where a file says nothing.

    pip install "transformers==5.24.0" && python experiments/class_defaults/make.py

One line a model type of the table and of the towers that its composed models have; numbers and truths only. Texts, learning
rates and what has no part in capacity are left out.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

from sim.perf.hf_config.model_types import COMPOSED, FAMILIES

OUT = Path(__file__).parents[2] / "sim" / "perf" / "hf_config" / "class_defaults.json"
SIZE = re.compile(
    r"(size|dim|dims|heads?|layers|experts?|rank|width|inner|window|pattern|period|offset|interval|step|freq|replace|layer|embd"
    r"|ctx|positions|model|ff|channels|expand|conv|state|groups|inputs|ratio|length|depth|tok|token|topk|top_k|modules|heads_in_group"
    r"|query|architecture|eq_v|embeddings|bias|rank_.*|len|every_n_layers|cache|input|mlp|num|kernel|of|blocks|ssm|multi_query)$"
)
NO_SIZE = re.compile(
    r"init|dropout|token_id|std|eps|loss|coef|multiplier|theta|scal|seed|return|output_(router|hidden|attentions)|beam|time_step_(min|max)|use_"
)
TOWER = re.compile(r"vision|audio|siglip|pixtral|whisper|voxtral|radio|aimv2|conformer|encoder$")


def main() -> None:
    lines = []
    for kind in sorted(CONFIG_MAPPING.keys()):
        if kind not in FAMILIES and kind not in COMPOSED and not TOWER.search(kind):
            continue
        sizes = {
            name: value
            for name, value in defaults(CONFIG_MAPPING[kind]).items()
            if SIZE.search(name) and not NO_SIZE.search(name)
        }
        if sizes:
            lines.append(f"{json.dumps(kind)}: {json.dumps(sizes)}")
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(lines)} types written to {OUT}")


def defaults(kind: Any) -> dict[str, Any]:
    """What the class itself states, before it derives anything; ``false`` says as much as nothing."""
    found = {field.name: field.default for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        found.setdefault(name, parameter.default)
    plain = {name: value for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}
    return {name: value for name, value in plain.items() if value is not False or name == "tie_word_embeddings"}


if __name__ == "__main__":
    main()
