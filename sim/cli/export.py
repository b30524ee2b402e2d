"""``servecap export``: the deployment that a configuration means.

    servecap export model=llama3_8b gpu=h100 fleet.replicas=4 engine.max_num_seqs=128
    servecap export --format llm-d --out values.yaml ...

kubernetes: a Deployment and its Service. llm-d: values of its model-service chart; dynamo: a graph deployment. Each holds
what is certain: model, image, arguments, replicas, GPUs; everything else is the chart's own. Pools are written one after
another; a prefill pool and its decode pool are one document of llm-d and Dynamo. Of Kubernetes they are two, labelled by
their roles, which a router that knows both (vLLM's, llm-d's) has to stand before.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError, OutputError
from sim.perf.machines import machines
from sim.spec import EngineSpec, Scenario
from sim.spec.model import model_reference
from sim.spec.releases import parse_version
from sim.spec.serve_line import serve_environment
from sim.spec.served_fleet import ServedPool, served_pools

_IMAGES = {
    "vllm": "vllm/vllm-openai:v{version}", "sglang": "lmsysorg/sglang:latest",
    "tensorrt_llm": "nvcr.io/nvidia/tensorrt-llm/release:latest",
}  # fmt: skip
_PORTS = {"vllm": 8000, "sglang": 30000, "tensorrt_llm": 8000}


class _Plain(yaml.SafeDumper):
    """YAML without anchors: a reader edits one place at a time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main(argv: Sequence[str]) -> int:
    """The verb; prints YAML or writes it."""
    parser = argparse.ArgumentParser(prog="servecap export", description="The deployment that a configuration means.")
    parser.add_argument("overrides", nargs="*", help="as for a run: model=... gpu=... engine.KEY=... fleet.replicas=...")
    parser.add_argument("--format", choices=("kubernetes", "llm-d", "dynamo"), default="kubernetes")
    parser.add_argument("--out", type=Path, help="a file (default: the terminal)")
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of your own presets")
    parser.add_argument("--json", action="store_true", help="a JSON list of the documents instead of YAML")
    options = parser.parse_intermixed_args(list(argv))
    overrides = [*options.overrides, *(f"--config-dir={folder}" for folder in options.config_dir)]
    text = exported(composed_scenario(overrides), options.format)
    if options.json:
        text = json.dumps(list(yaml.safe_load_all(text)), indent=2) + "\n"
    if options.out is None:
        print(text, end="")
        return 0
    try:
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{options.out}: cannot be written ({error.strerror})") from None
    print(f"Written to {options.out}")
    return 0


def exported(scenario: Scenario, form: str) -> str:
    """YAML documents of every pool that has replicas, in the ``form`` kubernetes, llm-d or dynamo."""
    pools = list(served_pools(scenario))
    for pool in pools:
        engine, gpu = pool.engine, pool.gpu
        if machines(engine.gpus, gpu) > 1:
            raise ConfigError(
                f"export writes one pod a replica, but {engine.gpus} {gpu.name} GPUs stand on {machines(engine.gpus, gpu)} "
                f"machines of {gpu.max_scaleup_gpus} (gpu.max_scaleup_gpus)"
            )
        if engine.name not in _IMAGES:
            raise ConfigError(f"engine={engine.name}: export writes vLLM, SGLang and TensorRT-LLM servers")
        if form != "kubernetes" and engine.name != "vllm":
            raise ConfigError(f"engine={engine.name}: export --format {form} writes vLLM servers")
        if pool.protocol is not None and engine.name != "vllm":
            raise ConfigError(
                f"engine={engine.name}: export writes pools with roles ({pool.name}: {pool.role}) for vLLM alone"
            )
        if pool.protocol == "reserve_first":
            raise ConfigError(
                "gateway.disaggregation.protocol=reserve_first: export writes vLLM's servers, which hand KV over by pull or "
                "push"
            )
    write = {"kubernetes": _kubernetes, "llm-d": _llm_d, "dynamo": _dynamo}[form]
    documents = [document for group in _deployed_together(pools, form) for document in write(group)]
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120)


def _deployed_together(pools: Sequence[ServedPool], form: str) -> list[list[ServedPool]]:
    """Pools of one document: each alone, or those with roles together where ``form`` has both in one."""
    halves = [pool for pool in pools if pool.role != "both"]
    if form == "kubernetes" or not halves:
        return [[pool] for pool in pools]
    if len(halves) > 2:
        named = ", ".join(f"{pool.name} ({pool.role})" for pool in halves)
        raise ConfigError(f"export --format {form} writes one prefill and one decode pool, but got {named}")
    return [[pool] for pool in pools if pool.role == "both"] + [halves]


def _label(pools: Sequence[ServedPool]) -> str:
    parts = [pools[0].model.name, *([pools[0].name] if len(pools) == 1 else [])]
    return re.sub(r"[^a-z0-9-]+", "-", "-".join(parts).lower()).strip("-")[:50]


def _environment(engine: EngineSpec) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in serve_environment(engine).items()]


def _image(engine: EngineSpec) -> str:
    major, minor = parse_version(engine.version)
    patch = re.fullmatch(r"v?\d+\.\d+\.(\d+)", engine.version)
    return _IMAGES[engine.name].format(version=f"{major}.{minor}.{patch[1] if patch is not None else 0}")


def _kubernetes(pools: Sequence[ServedPool]) -> list[Any]:
    (pool,) = pools
    label, engine, words = _label(pools), pool.engine, pool.words()
    port, command = _PORTS[engine.name], 3 if engine.name == "sglang" else 2
    container = {
        "name": "server", "image": _image(engine), "command": words[:command], "args": words[command:],
        "ports": [{"containerPort": port}], **({"env": _environment(engine)} if _environment(engine) else {}),
        "resources": {"limits": {"nvidia.com/gpu": engine.gpus}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 10, "failureThreshold": 360},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }  # fmt: skip
    pod = {"containers": [container], "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]}
    labels = {"app": label, **({"role": pool.role} if pool.role != "both" else {})}
    template = {"metadata": {"labels": labels}, "spec": pod}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": label, "labels": labels},
        "spec": {"replicas": pool.replicas, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": label, "labels": labels},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": port}]},
    }  # fmt: skip
    return [deployment, service]


def _llm_d(pools: Sequence[ServedPool]) -> list[Any]:
    """Values of the chart llm-d-modelservice (its examples/values-pd.yaml); a pool without a role is under ``decode``."""
    served = model_reference(pools[0].model)
    parts: dict[str, Any] = {"decode": {"create": False}, "prefill": {"create": False}}
    for pool in pools:
        engine = pool.engine
        container = {
            "name": "vllm", "image": _image(engine), "modelCommand": "vllmServe", "args": pool.words()[3:],
            "resources": {"limits": {"nvidia.com/gpu": str(engine.gpus)}},
            **({"env": _environment(engine)} if _environment(engine) else {}),
        }  # fmt: skip
        parallelism = {"tensor": engine.tensor_parallel_size}
        if engine.data_parallel_size > 1:
            parallelism |= {"data": engine.data_parallel_size, "dataLocal": engine.data_parallel_size}
        parts["prefill" if pool.role == "prefill" else "decode"] = {
            "create": True, "replicas": pool.replicas, "parallelism": parallelism, "containers": [container],
        }  # fmt: skip
    return [{"fullnameOverride": _label(pools), "modelArtifacts": {"uri": f"hf://{served}", "name": served}, **parts}]


_DYNAMO_NAMES = {"both": "VllmWorker", "prefill": "VllmPrefillWorker", "decode": "VllmDecodeWorker"}


def _dynamo(pools: Sequence[ServedPool]) -> list[Any]:
    """A graph deployment (Dynamo's examples/backends/vllm/deploy/agg.yaml and disagg.yaml)."""
    services: dict[str, Any] = {"Frontend": {"componentType": "frontend", "replicas": 1}}
    for pool in pools:
        engine, split = pool.engine, pool.role != "both"
        args = ["-m", "dynamo.vllm", "--model", model_reference(pool.model), *pool.words()[3:]]
        services[_DYNAMO_NAMES[pool.role]] = {
            "componentType": "worker", **({"subComponentType": pool.role} if split else {}), "replicas": pool.replicas,
            "resources": {"limits": {"gpu": str(engine.gpus)}},
            "extraPodSpec": {
                "mainContainer": {"command": ["python3"], "args": [*args, *([f"--is-{pool.role}-worker"] if split else [])]}
            },
            **({"envs": _environment(engine)} if _environment(engine) else {}),
        }  # fmt: skip
    return [{
        "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment", "metadata": {"name": _label(pools)},
        "spec": {"services": services},
    }]  # fmt: skip
