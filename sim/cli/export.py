"""``servecap export``: the deployment that a configuration means.

    servecap export model=llama3_8b gpu=h100 fleet.replicas=4 engine.max_num_seqs=128
    servecap export --format llm-d --out values.yaml ...

kubernetes: a Deployment and its Service. llm-d: values of its model-service chart; dynamo: a graph deployment of one
aggregated worker. Both hold what is certain: model, image, arguments, replicas, GPUs; everything else is the chart's own.
Pools other than the default are written one after another.
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
from sim.perf.collectives import machines
from sim.spec import EngineSpec, ModelSpec, Scenario
from sim.spec.model import model_reference
from sim.spec.releases import parse_version
from sim.spec.serve_line import serve_environment, serve_words

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
    documents: list[Any] = []
    for name, pool in scenario.fleet.all_pools().items():
        model, engine = pool.model or scenario.model, pool.engine or scenario.engine
        gpu = pool.gpu or scenario.gpu
        if machines(engine.gpus, gpu) > 1:
            raise ConfigError(
                f"export writes one pod a replica, but {engine.gpus} {gpu.name} GPUs stand on {machines(engine.gpus, gpu)} "
                f"machines of {gpu.max_scaleup_gpus} (gpu.max_scaleup_gpus)"
            )
        if engine.name not in _IMAGES:
            raise ConfigError(f"engine={engine.name}: export writes vLLM, SGLang and TensorRT-LLM servers")
        if form != "kubernetes" and engine.name != "vllm":
            raise ConfigError(f"engine={engine.name}: export --format {form} writes vLLM servers")
        label = re.sub(r"[^a-z0-9-]+", "-", f"{model.name}-{name}".lower()).strip("-")[:50]
        write = {"kubernetes": _kubernetes, "llm-d": _llm_d, "dynamo": _dynamo}[form]
        documents += write(label, model, engine, pool.replicas)
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120)


def _environment(engine: EngineSpec) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in serve_environment(engine).items()]


def _gpus(engine: EngineSpec) -> int:
    return engine.gpus


def _image(engine: EngineSpec) -> str:
    major, minor = parse_version(engine.version)
    patch = re.fullmatch(r"v?\d+\.\d+\.(\d+)", engine.version)
    return _IMAGES[engine.name].format(version=f"{major}.{minor}.{patch[1] if patch is not None else 0}")


def _kubernetes(label: str, model: ModelSpec, engine: EngineSpec, replicas: int) -> list[Any]:
    port, words = _PORTS[engine.name], serve_words(model, engine)
    container = {
        "name": "server", "image": _image(engine), "command": words[:2] if engine.name != "sglang" else words[:3],
        "args": words[2:] if engine.name != "sglang" else words[3:], "ports": [{"containerPort": port}],
        **({"env": _environment(engine)} if _environment(engine) else {}),
        "resources": {"limits": {"nvidia.com/gpu": _gpus(engine)}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 10, "failureThreshold": 360},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }  # fmt: skip
    pod = {"containers": [container], "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]}
    labels = {"app": label}
    template = {"metadata": {"labels": labels}, "spec": pod}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": label},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": label},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": port}]},
    }  # fmt: skip
    return [deployment, service]


def _llm_d(label: str, model: ModelSpec, engine: EngineSpec, replicas: int) -> list[Any]:
    container = {
        "name": "vllm", "image": _image(engine), "modelCommand": "vllmServe", "args": serve_words(model, engine)[3:],
        "resources": {"limits": {"nvidia.com/gpu": str(_gpus(engine))}},
        **({"env": _environment(engine)} if _environment(engine) else {}),
    }  # fmt: skip
    served = model_reference(model)
    parallelism = {"tensor": engine.tensor_parallel_size}
    if engine.data_parallel_size > 1:
        parallelism |= {"data": engine.data_parallel_size, "dataLocal": engine.data_parallel_size}
    decode = {
        "create": True, "replicas": replicas, "parallelism": parallelism,
        "containers": [container],
    }  # fmt: skip
    artifacts = {"uri": f"hf://{served}", "name": served}
    return [{"fullnameOverride": label, "modelArtifacts": artifacts, "decode": decode, "prefill": {"create": False}}]


def _dynamo(label: str, model: ModelSpec, engine: EngineSpec, replicas: int) -> list[Any]:
    args = ["-m", "dynamo.vllm", "--model", model_reference(model), *serve_words(model, engine)[3:]]
    worker = {
        "componentType": "worker", "replicas": replicas, "resources": {"limits": {"gpu": str(_gpus(engine))}},
        "extraPodSpec": {"mainContainer": {"command": ["python3"], "args": args}},
        **({"envs": _environment(engine)} if _environment(engine) else {}),
    }  # fmt: skip
    return [{
        "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment", "metadata": {"name": label},
        "spec": {"services": {"Frontend": {"componentType": "frontend", "replicas": 1}, "VllmWorker": worker}},
    }]  # fmt: skip
