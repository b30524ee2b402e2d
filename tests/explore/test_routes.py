"""What the page's server answers, and what it refuses."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest


def call(url: str, path: str, data: object = None, *, method: str = "GET", **headers: str) -> tuple[int, Any]:
    body = None if data is None else json.dumps(data).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    asked = urllib.request.Request(f"{url}/{path}", data=body, headers=sent, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ended(url: str, overrides: list[str], how: str = "preview") -> dict[str, Any]:
    """The job of a question, once it has ended."""
    status, body = call(url, "jobs", {"overrides": overrides, "how": how}, method="POST")
    assert status == 200, body
    job: dict[str, Any] = json.loads(body)
    end = time.monotonic() + 120
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < end
        time.sleep(0.05)
        job = json.loads(call(url, f"jobs/{job['job']}")[1])
    return job


def test_a_preview_is_what_a_run_of_the_first_requests_says(url: str) -> None:
    from sim.analysis import summarize
    from sim.cli.compose import composed_scenario
    from sim.run import simulate
    from sim.workload.timeline import load_trace

    scenario = composed_scenario(["gpu=h100", "workload.limit=400"])
    summary = summarize(simulate(scenario, load_trace(scenario)))
    answer = ended(url, ["gpu=h100"])["answer"]
    assert answer["requests"] == 400 and answer["cut"]
    told = {fact["name"]: fact["value"] for fact in answer["facts"]}
    assert told["TTFT p95, s"] == summary["latency"]["ttft_s"]["p95"]
    assert told["output tokens a second"] == summary["throughput"]["output_tokens_per_s"]


def test_a_wrong_value_is_told_as_the_command_line_tells_it(url: str) -> None:
    job = ended(url, ["fleet.replicas=-3"])
    assert job["state"] == "wrong" and "fleet.replicas" in job["text"] and "-3" in job["text"]
    assert ended(url, ["model=no_such"])["state"] == "wrong"
    assert ended(url, ["decide.enabled=true"])["state"] == "wrong"
    assert ended(url, [])["state"] == "done", "the worker lives on"


def test_the_fewest_replicas_meet_the_slo(url: str) -> None:
    answer = ended(url, ["gpu=h100", "workload.limit=600"], "replicas")["answer"]
    assert answer["holds"] and "fewest replicas" in answer["solved"]


def test_a_cancelled_job_ends_and_the_next_is_served(url: str) -> None:
    status, body = call(url, "jobs", {"overrides": ["workload.rate_scale=40"], "how": "whole"}, method="POST")
    number = json.loads(body)["job"]
    assert status == 200
    time.sleep(0.3)
    began = time.monotonic()
    assert json.loads(call(url, f"jobs/{number}", method="DELETE")[1])["state"] == "cancelled"
    assert time.monotonic() - began < 10
    assert json.loads(call(url, f"jobs/{number}")[1])["state"] == "cancelled"
    assert ended(url, ["workload.limit=300"], "whole")["state"] == "done"


def test_an_exported_run_is_a_run_folder(url: str) -> None:
    import io
    import tarfile

    job = ended(url, ["workload.limit=300"], "folder")
    status, page = call(url, f"jobs/{job['job']}/report")
    assert status == 200 and b"<!doctype html>" in page
    status, body = call(url, f"jobs/{job['job']}/archive")
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        names = archive.getnames()
    assert status == 200 and {"run/summary.json", "run/config.yaml", "run/requests.parquet"} <= set(names)


def test_exported_runs_go_with_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from sim.explore.desk import Desk
    from sim.explore.work import Question

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def exported() -> bool:
        desk = Desk()
        job = desk.ask(Question(("workload.limit=100",), "folder"))
        while job.state in ("waiting", "running"):
            await asyncio.sleep(0.05)
        there = job.state == "done" and any(tmp_path.glob("*/1/summary.json"))
        desk.close()
        return there

    assert asyncio.run(exported()) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "data", "method", "headers", "status"),
    [
        ("", None, "GET", {"Host": "evil.example"}, 400),
        ("jobs", {"overrides": []}, "POST", {"Host": "evil.example"}, 400),
        ("jobs", {"overrides": []}, "POST", {"Content_Type": "text/plain"}, 415),
        ("jobs", {"overrides": []}, "POST", {"Origin": "http://evil.example"}, 403),
        ("../knobs", None, "GET", {}, 404),
        ("../jobs", {"overrides": []}, "POST", {}, 404),
        ("jobs", {"overrides": "gpu=h100"}, "POST", {}, 400),
        ("jobs", {"overrides": [1]}, "POST", {}, 400),
        ("jobs", {"overrides": [], "how": "rm"}, "POST", {}, 400),
        ("jobs", {"overrides": ["x" * 70_000]}, "POST", {}, 413),
        ("jobs", [], "POST", {}, 400),
        ("jobs/99999", None, "GET", {}, 404),
        ("jobs/99999", None, "DELETE", {}, 404),
        ("static/app.py", None, "GET", {}, 404),
        ("static/..%2fapp.py", None, "GET", {}, 404),
    ],
)
def test_what_is_no_question_of_this_page_is_refused(
    url: str, path: str, data: object, method: str, headers: dict[str, str], status: int
) -> None:
    assert call(url, path, data, method=method, **headers)[0] == status


def test_every_knob_is_a_key_or_a_group(url: str) -> None:
    from sim.explore.knobs import SHELF

    shown = [knob["key"] for group in json.loads(call(url, "knobs")[1]) for knob in group["knobs"]]
    assert shown == [key for _, keys in SHELF for key in keys]
    found = json.loads(call(url, "knobs/find?q=retries")[1])
    assert found and all(knob["description"] for knob in found)
    assert json.loads(call(url, "knobs/find?q=qqqqqq")[1]) == []
