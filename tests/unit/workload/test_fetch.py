"""Downloads from a TLS server on this machine: checked, resumed, refused."""

import hashlib
import http.server
import ssl
import threading
from pathlib import Path

import pytest

from sim.errors import OutputError, TraceError
from sim.spec import WorkloadSpec
from sim.workload import load_workload, read_trace
from sim.workload.fetch import PUBLIC_TRACES, cached, fetch, load

CONTENT = b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n" + b"".join(
    b"2023-11-16 18:15:%02d.6805900,%d,44\r\n" % (second, second + 1) for second in range(60)
)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        if self.path not in ("/trace", "/trace.csv", "/elsewhere", "/..%2f..%2fpasswd"):
            self.send_error(404)
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/trace")
            self.end_headers()
            return
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.server.cut or None])

    def log_message(self, *arguments):
        pass


CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Of 127.0.0.1, signed by itself; good for these tests alone."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        running.socket = context.wrap_socket(running.socket, server_side=True)
        running.asked, running.cut = [], 0
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def url(server, path="/trace"):
    return f"https://127.0.0.1:{server.server_port}{path}"


def test_a_file_is_loaded_checked_kept_and_not_loaded_again(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVECAP_CACHE", str(tmp_path))
    path = fetch("azure_conv_2023", url=url(server), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert fetch("azure_conv_2023", url=url(server), sha256=SHA256) == path
    assert len(server.asked) == 1
    assert cached("azure_conv_2023") == path
    trace = load_workload(WorkloadSpec(name="azure_conv_2023", fetch="azure_conv_2023"), 0)
    assert len(trace) == 60


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 100
    with pytest.raises(TraceError, match="cannot be loaded"):
        fetch("azure_conv_2023", folder=tmp_path, url=url(server), sha256=SHA256)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    server.cut = 0
    assert fetch("azure_conv_2023", folder=tmp_path, url=url(server), sha256=SHA256).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100-"]


def test_another_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(TraceError, match=r"has SHA-256 .*expected 2f1e5b66"):
        fetch("azure_conv_2023", folder=tmp_path, url=url(server))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_fetched(server, tmp_path):
    with pytest.raises(TraceError, match="'nope' is no public trace; legal are azure_conv_2023"):
        fetch("nope")
    with pytest.raises(TraceError, match="404"):
        fetch("azure_conv_2023", folder=tmp_path, url=url(server, "/gone"))
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch("azure_conv_2023", folder=file / "sub", url=url(server))


def test_nothing_but_https_is_loaded(server, tmp_path, monkeypatch):
    for address in (url(server).replace("https", "http"), "file:///etc/passwd", "ftp://127.0.0.1/t.csv"):
        with pytest.raises(TraceError, match="is no https address"):
            fetch("azure_conv_2023", folder=tmp_path, url=address)
    with pytest.raises(TraceError, match=r"http://127\.0\.0\.1:1/trace: is no https address"):
        fetch("azure_conv_2023", folder=tmp_path, url=url(server, "/elsewhere"))
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(TraceError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch("azure_conv_2023", folder=tmp_path, url=url(server))
    assert [path for path in tmp_path.iterdir() if path.stat().st_size] == []


def test_size_is_bounded_and_checked(server, tmp_path, monkeypatch):
    monkeypatch.setattr("sim.workload.fetch.MOST_BYTES", 1000)
    with pytest.raises(TraceError, match=r"has 2,\d{3} bytes or more; expected at most 1,000"):
        fetch("azure_conv_2023", folder=tmp_path, url=url(server), sha256=SHA256)
    monkeypatch.undo()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with pytest.raises(TraceError, match="nothing was kept"):
        load(url(server), tmp_path / "t.csv", sha256=SHA256, size_bytes=len(CONTENT) + 1)
    assert not (tmp_path / "t.csv").exists()


def test_an_address_is_a_path(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SERVECAP_CACHE", str(tmp_path))
    place = f"{url(server, '/trace.csv')}#sha256={SHA256}"
    trace = load_workload(WorkloadSpec(path=place), 0)
    assert len(trace) == 60
    assert f"SHA-256 {SHA256}" in capsys.readouterr().err
    assert len(server.asked) == 1
    read_trace(place)
    assert len(server.asked) == 1
    with pytest.raises(TraceError, match="expected 0000"):
        read_trace(f"{url(server, '/trace.csv')}#sha256={'0' * 64}")
    with pytest.raises(TraceError, match="is no https address"):
        read_trace("http://127.0.0.1:1/trace.csv")


def test_an_address_never_leaves_the_cache_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVECAP_CACHE", str(tmp_path / "cache"))
    assert len(read_trace(url(server, "/..%2f..%2fpasswd"))) == 60
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "cache" not in path.parents]
    assert outside == []


def test_every_public_trace_has_an_address_and_a_checksum():
    for known in PUBLIC_TRACES.values():
        assert known.url.startswith("https://")
        assert len(known.sha256) == 64
        assert known.licence
