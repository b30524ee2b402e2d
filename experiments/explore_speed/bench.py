"""How fast the page of ``servecap explore`` answers.

    python experiments/explore_speed/bench.py

Starts it, asks for a first preview (processes still starting), for a second and third, for the whole default trace, and
meanwhile asks for where it began every 10 ms: the longest answer is the longest stall of the server's event loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any


def call(url: str, path: str, data: object = None) -> Any:
    body = None if data is None else json.dumps(data).encode()
    asked = urllib.request.Request(f"{url}/{path}", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=300) as response:
        return json.loads(response.read())


def answer_s(url: str, overrides: list[str], how: str) -> float:
    began = time.perf_counter()
    job = call(url, "jobs", {"overrides": overrides, "how": how})
    while job["state"] in ("waiting", "running"):
        time.sleep(0.01)
        job = call(url, f"jobs/{job['job']}")
    assert job["state"] == "done", job["text"]
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    command = [sys.executable, "-m", "sim", "explore", "--port", "0", "--no-browser", "--json", "--for-s", "300"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        rows = [("the page is there", time.perf_counter() - began)]
        rows.append(("first preview, processes still starting", answer_s(url, [], "preview")))
        rows.append(("next preview", answer_s(url, ["gpu=h100"], "preview")))
        over, stalls = threading.Event(), [0.0]

        def ask_again_and_again() -> None:
            while not over.wait(0.01):
                asked = time.perf_counter()
                call(url, "start")
                stalls.append(time.perf_counter() - asked)

        thread = threading.Thread(target=ask_again_and_again)
        thread.start()
        rows.append(("whole default trace", answer_s(url, [], "whole")))
        over.set()
        thread.join()
        rows.append(("longest answer of the server meanwhile", max(stalls)))
        process.terminate()
    print("| what | seconds |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.3f} |")


if __name__ == "__main__":
    main()
