"""``servecap mock``: what a streaming client measures is what the run predicts; errors and metrics are vLLM's in shape."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sim
from sim.measured.prometheus import from_text
from tests.mock.streaming_client import post, replay

pytest.importorskip("uvicorn", reason="servecap[web] is not installed")
pytest.importorskip("starlette", reason="servecap[web] is not installed")


@contextmanager
def serving(*line: str) -> Iterator[int]:
    """A stand-in in a process of its own; its port."""
    command = [sys.executable, "-m", "sim", "mock", *line, "--port", "0", "--json", "--for-s", "240"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stderr is not None
        said = process.stdout.readline()
        assert said, process.stderr.read()
        yield int(json.loads(said)["base_url"].rpartition(":")[2].removesuffix("/v1"))
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def traffic() -> list[tuple[float, int, int]]:
    """Moderate load: two requests a second for ten seconds, prompts of a few thousand tokens, answers of a second or two."""
    rng = np.random.default_rng(5)
    arrivals = np.cumsum(rng.exponential(0.45, 24))
    return [
        (float(at), int(i), int(o))
        for at, i, o in zip(arrivals, rng.integers(1500, 5000, 24), rng.integers(20, 60, 24), strict=True)
    ]


def test_a_client_measures_what_the_run_predicts(traffic: list[tuple[float, int, int]], tmp_path: Path) -> None:
    path = tmp_path / "traffic.csv"
    pd.DataFrame(traffic, columns=["arrival_s", "input_tokens", "output_tokens"]).to_csv(path, index=False)
    predicted = sim.simulate(sim.scenario(workload={"path": str(path)})).requests
    speed = 1.0
    worst, replays = 1.0, 0
    with serving("--trace", str(path), "--speed", str(speed)) as port:
        while worst > 0.03 and replays < 3:  # a machine that is busy otherwise makes everybody late; a quiet replay counts
            replays += 1
            measured = asyncio.run(replay(port, traffic, speed))
            assert [one.status for one in measured] == [200] * len(traffic)
            assert [len(one.token_s) for one in measured] == [output for _, _, output in traffic]
            seen = {name: np.mean([getattr(one, name) * speed for one in measured]) for name in ("ttft_s", "tpot_s", "e2e_s")}
            worst = max(abs(mean / predicted[name].mean() - 1) for name, mean in seen.items())
        metrics = asyncio.run(post(port, "/metrics", b"", method="GET"))
    assert worst <= 0.03, seen
    samples = from_text("ours", metrics.body)
    assert samples.total("vllm:request_success_total") == len(traffic) * replays
    assert samples.total("vllm:generation_tokens_total") == sum(output for _, _, output in traffic) * replays


async def faults(port: int) -> dict[str, object]:
    chat = {"messages": [{"role": "user", "content": "hello " * 40}], "max_tokens": 4, "ignore_eos": True}
    stream = {**chat, "stream": True, "stream_options": {"include_usage": True}}
    long = {"prompt": [1] * 2000, "max_tokens": 400, "ignore_eos": True, "stream": True}
    burst = await asyncio.gather(*(post(port, "/v1/completions", long) for _ in range(8)))
    return {
        "chat": await post(port, "/v1/chat/completions", chat),
        "stream": await post(port, "/v1/chat/completions", stream),
        "burst": burst,
        "newer": await post(port, "/v1/completions", {"prompt": "a", "max_tokens": 3, "max_completion_tokens": None}),
        "drawn": await post(port, "/v1/completions", {"prompt": "a", "max_tokens": 9_000}),
        "models": await post(port, "/v1/models", b"", method="GET"),
        "health": await post(port, "/health", b"", method="GET"),
        "long": await post(port, "/v1/completions", {"prompt": [1] * 200_000, "max_tokens": 9, "ignore_eos": True}),
        "no_json": await post(port, "/v1/completions", b"{"),
        "no_prompt": await post(port, "/v1/completions", {"prompt": 3}),
        "tokens": await post(port, "/v1/completions", {"prompt": "a", "max_tokens": -1}),
        "two": await post(port, "/v1/completions", {"prompt": "a", "max_tokens": 2, "n": 2}),
        "huge": await post(port, "/v1/completions", b"[" + b" " * (9 << 20) + b"]"),
        "host": await post(port, "/v1/models", b"", host="evil.example", method="GET"),
    }


def test_answers_errors_and_bounds() -> None:
    with serving("gateway.max_queue_requests=0", "--max-num-seqs", "2", "--speed", "20", "--replicas", "2") as port:
        found = asyncio.run(faults(port))
    chat = json.loads(found["chat"].body)
    assert chat["choices"][0]["message"]["content"] == " token" * 4
    assert chat["usage"]["completion_tokens"] == 4
    stream = found["stream"]
    assert stream.events[-1] == "[DONE]"
    assert json.loads(stream.events[-2])["usage"]["completion_tokens"] == 4
    assert len(stream.token_s) == 4
    assert [json.loads(end)["choices"][0]["finish_reason"] for end in stream.events[-4:-2]] == [None, "length"]
    assert json.loads(found["newer"].body)["usage"]["completion_tokens"] <= 3
    assert json.loads(found["drawn"].body)["choices"][0]["finish_reason"] == "stop"
    shed = [one for one in found["burst"] if one.status == 429]
    assert shed and len(shed) < 8
    assert shed[0].headers["retry-after"] == "1"
    assert json.loads(shed[0].body)["error"]["type"] == "RateLimitError"
    assert json.loads(found["models"].body)["data"][0]["id"] == "llama3_8b"
    assert found["health"].status == 200
    assert {name: found[name].status for name in ("long", "no_json", "no_prompt", "tokens", "two", "huge", "host")} == {
        "long": 400, "no_json": 400, "no_prompt": 400, "tokens": 400, "two": 400, "huge": 413, "host": 400,
    }  # fmt: skip
    assert "max_tokens" in found["tokens"].body


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--port", "99999"], ["--port", "65535"]), (["--speed", "0"], ["--speed"]),
        (["--most-requests", "0"], ["--most-requests"]),
        (["gateway.users={kind: closed, users: 3}"], ["gateway.users", "open"]),
    ],
)  # fmt: skip
def test_bad_arguments(servecap, line: list[str], words: list[str]) -> None:
    ended = servecap("mock", *line)
    assert ended.code == 2
    for word in words:
        assert word in ended.message
