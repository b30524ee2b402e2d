"""A real browser, driven by its own protocol over a pipe (Chrome DevTools Protocol): no driver, no port, no dependency."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page of a headless chromium; ``complaints`` collects errors of its scripts and console."""

    def __init__(self, width: int = 1300, height: int = 1000) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._folder = tempfile.mkdtemp(prefix="browser-")
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={self._folder}", "--remote-debugging-pipe", f"--window-size={width},{height}", "about:blank",
        ]  # fmt: skip
        high = f"a, b = os.dup({theirs_in}), os.dup({theirs_out}); os.dup2(a, 3); os.dup2(b, 4)"
        high += "; os.set_inheritable(3, True); os.set_inheritable(4, True)"
        wired = [sys.executable, "-c", f"import os, sys; {high}; os.execv(sys.argv[1], sys.argv[1:])", *command]
        self._process = subprocess.Popen(
            wired, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        page = None
        while page is None:
            targets = self._call("Target.getTargets")["targetInfos"]
            page = next((one["targetId"] for one in targets if one["type"] == "page"), None)
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for name in ("Page", "Runtime", "Log"):
            self._call(f"{name}.enable")

    def open(self, url: str) -> None:
        """Go to ``url`` and wait until its page is there."""
        self["window.servecapBefore = 1"]
        self._call("Page.navigate", url=url)
        while self["window.servecapBefore === 1 || document.readyState !== 'complete'"]:
            time.sleep(0.05)

    def __getitem__(self, expression: str) -> Any:
        """The value of a JavaScript expression (awaited where it is a promise)."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"].get("exception", found["exceptionDetails"]))
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 90.0) -> None:
        """Wait until ``expression`` is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self[f"!!({expression})"]:
                return
            time.sleep(0.1)
        raise AssertionError(f"never true within {seconds} s: {expression}\n{self['document.body.innerText'][:2000]}")

    def turn(self, key: str, value: str) -> None:
        """Turn a knob as a user does."""
        self[
            f"""(() => {{ const k = document.querySelector('[data-key="{key}"]'); k.value = {json.dumps(value)};
            k.dispatchEvent(new Event('change')); }})()"""
        ]

    def press(self, key: str) -> None:
        """A key, as the keyboard sends it, to what has the focus."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def point_at(self, element: str, share: float = 0.5) -> None:
        """Move the mouse over ``element`` (a JavaScript expression): to ``share`` of its width, half its height."""
        box = self[f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect(); "
                   f"return [r.x, r.y, r.width, r.height] }})({element})"]  # fmt: skip
        for step in (0.9, 1.0):  # a mouse arrives from somewhere
            self._call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + box[2] * share * step, y=box[1] + box[3] / 2)

    def picture(self, dark: bool = False, **size: int) -> bytes:
        """The page as PNG; ``size``: ``width`` and ``height`` of the screen."""
        if size:
            self._call("Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, mobile=False, **size)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=features)
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    @contextmanager
    def as_medium(self, media: str, width: int) -> Iterator[None]:
        """The page as ``print`` or ``screen`` at a width."""
        self._call("Emulation.setEmulatedMedia", media=media)
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
        yield
        self._call("Emulation.setEmulatedMedia", media="")
        self._call("Emulation.clearDeviceMetricsOverride")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                piece = os.read(self._in, 1 << 16)
                assert piece, "the browser ended"
                self._buffer += piece
            line, _, self._buffer = self._buffer.partition(b"\0")
            said = json.loads(line)
            if said.get("id") == self._number:
                assert "error" not in said, said
                return dict(said["result"])
            if said.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]["exceptionDetails"])[:500])
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(str(said["params"]["entry"])[:500])
