"""Traces from https addresses, public ones by name, into a cache folder: checked, resumable.

The file is loaded beside its place as ``.part``; a download that was cut off goes on from there (HTTP range), and only a
file whose SHA-256 (and size, where it is known) is right gets its name. Nothing but https is loaded, redirections
included, and no more than ``MOST_BYTES``. The cache is ``$SERVECAP_CACHE`` or ``~/.cache/servecap``. The standard library
does all this in a page, so there is no dependency for it. Addresses and sums: collected 2026-11-23 from the data sets'
own repositories; the sums of big files from several independent pins.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import OutputError, TraceError

MOST_BYTES = 16 << 30
"""Of anything that is loaded or copied: twice the largest public trace."""
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_AZURE = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/"
_AZURE_2024 = "https://github.com/Azure/AzurePublicDataset/releases/download/dataset-llm-2024/"
_BURSTGPT = "https://github.com/HPMLL/BurstGPT/releases/download/v2.0/"
_MOONCAKE = "https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces/"
_BAILIAN = "https://media.githubusercontent.com/media/alibaba-edu/qwen-bailian-usagetraces-anon/main/"


@dataclass(frozen=True)
class PublicTrace:
    """Where a trace is, what it must hash to, and on what terms it is given."""

    url: str
    sha256: str
    licence: str
    bytes: int | None = None
    """Its size, where a source states it."""

    @property
    def file(self) -> str:
        """The name it has in the cache."""
        return self.url.rsplit("/", 1)[1]


PUBLIC_TRACES: dict[str, PublicTrace] = {
    name: PublicTrace(url, sha256, licence, size)
    for name, url, sha256, licence, size in (
        ("azure_conv_2023", _AZURE + "AzureLLMInferenceTrace_conv.csv",
         "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8", "CC-BY-4.0", 719_188),
        ("azure_code_2023", _AZURE + "AzureLLMInferenceTrace_code.csv",
         "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6", "CC-BY-4.0", 320_117),
        ("azure_conv_2024", _AZURE_2024 + "AzureLLMInferenceTrace_conv_1week.csv",
         "a0cc9b969a9bbf0fd811802cbf4323edd3a209ace791e3799ad4f9207f213941", "CC-BY-4.0", 1_135_195_393),
        ("azure_code_2024", _AZURE_2024 + "AzureLLMInferenceTrace_code_1week.csv",
         "71de5c55cbc35f8f1ed0b6b7806b4cd1e9764b0058469725a6aac98023a1448f", "CC-BY-4.0", None),
        ("burstgpt_1", _BURSTGPT + "BurstGPT_1.csv",
         "4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122", "CC-BY-4.0", 52_283_111),
        ("burstgpt_2", _BURSTGPT + "BurstGPT_2.csv",
         "44bf5942b03fca42c01a226a545ad3a750ec62688faecd67b6831c56a8928bf7", "CC-BY-4.0", 144_819_209),
        ("burstgpt_3", _BURSTGPT + "BurstGPT_3.csv",
         "2299986a07388aa303ec2c41d1131e756db650a39ed6ef9dfe7cc3d7f9a43b8f", "CC-BY-4.0", 231_682_327),
        ("mooncake_conversation", _MOONCAKE + "conversation_trace.jsonl",
         "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df", "Apache-2.0", 3_029_533),
        ("mooncake_synthetic", _MOONCAKE + "synthetic_trace.jsonl",
         "bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131", "Apache-2.0", 1_136_313),
        ("mooncake_toolagent", _MOONCAKE + "toolagent_trace.jsonl",
         "48a2db1a13d3bc05e6330140c64f604ba366df20d3c9e128b5c35a01c1fa5f71", "Apache-2.0", None),
        ("bailian_thinking", _BAILIAN + "qwen_thinking_blksz_16.jsonl",
         "41ac36d9d1b54d084eeb6b05e9d142ba9d02f8bf79cfc9fff418d8ab7cdee906", "Apache-2.0", 27_901_454),
        ("bailian_coder", _BAILIAN + "qwen_coder_blksz_16.jsonl",
         "3d74974cebb7bccb69b1ca6ea210a44d9a3033443c0271ed015327284dea1aff", "Apache-2.0", 132_054_902),
    )
}  # fmt: skip


def cache_folder() -> Path:
    """Where fetched traces lie."""
    chosen = os.environ.get("SERVECAP_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "servecap"


def cached(name: str) -> Path | None:
    """The fetched file of a public trace, or None."""
    if name not in PUBLIC_TRACES:
        return None
    path = cache_folder() / PUBLIC_TRACES[name].file
    return path if path.is_file() else None


def fetch(
    name: str, *, folder: Path | None = None, url: str | None = None, sha256: str | None = None,
    progress: Callable[[int], None] = lambda loaded_bytes: None,
) -> Path:  # fmt: skip
    """The file of the public trace ``name``, loaded unless it is in ``folder`` (the cache) already.

    ``url`` and ``sha256`` replace the registered ones (a mirror, a cut of the file).

    Raises:
        TraceError: no such name, no connection, or the content has another checksum.
        OutputError: the folder cannot be written.
    """
    if name not in PUBLIC_TRACES:
        raise TraceError(f"{name!r} is no public trace; legal are {', '.join(PUBLIC_TRACES)}")
    known = PUBLIC_TRACES[name]
    source, expected = url or known.url, sha256 or known.sha256
    place = (folder or cache_folder()) / known.file
    if place.is_file() and _sha256(place) == expected:
        return place
    stated = known.bytes if url is None and sha256 is None else None
    load(source, place, sha256=expected, size_bytes=stated, progress=progress)
    return place


def load(
    url: str, place: Path, *, sha256: str | None, size_bytes: int | None = None,
    progress: Callable[[int], None] = lambda loaded_bytes: None,
) -> None:  # fmt: skip
    """The content of ``url`` as the file ``place``, which appears only when it is whole and what was expected.

    Raises:
        TraceError: no https address, no connection, too large, or other content than expected.
        OutputError: the place cannot be written.
    """
    part = place.with_name(place.name + ".part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, size_bytes or MOST_BYTES, progress)
        found, size = _sha256(part), part.stat().st_size
        if sha256 not in (None, found) or size_bytes not in (None, size):
            part.unlink()
            expected = f"{sha256 or 'any'}" + (f" and {size_bytes:,} bytes" if size_bytes else "")
            raise TraceError(f"{url}: has SHA-256 {found} and {size:,} bytes; expected {expected}; nothing was kept")
        part.replace(place)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"{url}: cannot be loaded ({error}); what came is kept and resumed next time") from None
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror or error})") from None


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _refuse_insecure(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refuse_insecure(url: str) -> None:
    if not url.lower().startswith("https://"):
        raise TraceError(f"{url[:200]}: is no https address; nothing else is loaded, for anyone could change it")


def _download(source: str, part: Path, most_bytes: int, progress: Callable[[int], None]) -> None:
    _refuse_insecure(source)
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(source, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.build_opener(_OnlyHttps).open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to load: the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        loaded = have if resumed else 0
        left = response.headers.get("Content-Length")
        expected = loaded + int(left) if left is not None and left.isdecimal() else None
        _refuse_large(source, expected or 0, most_bytes)
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(_CHUNK_BYTES):
                loaded += len(block)
                if loaded > most_bytes:
                    file.truncate(0)
                    _refuse_large(source, loaded, most_bytes)
                file.write(block)
                progress(loaded)
        if expected is not None and loaded < expected:
            raise ConnectionError(f"connection closed after {loaded} bytes")


def _refuse_large(source: str, bytes_: int, most_bytes: int) -> None:
    if bytes_ > most_bytes:
        raise TraceError(f"{source}: has {bytes_:,} bytes or more; expected at most {most_bytes:,}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
