"""Where a trace may lie: folders, globs, pipes, input, addresses (their loading: ``test_fetch``)."""

import io
import os
import sys
import threading

import pytest

from sim.errors import TraceError
from sim.spec import WorkloadSpec
from sim.workload import load_workload, places, read_trace
from sim.workload.load import input_files

HEADER = "arrival_s,input_tokens,output_tokens"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVECAP_CACHE", str(tmp_path / "cache"))
    places.kept_copy.cache_clear()


def test_files_of_one_format_are_merged_by_time(tmp_path):
    (tmp_path / "a.csv").write_text(f"{AZURE}\n2023-11-16 18:00:01,1,1\n2023-11-16 18:00:03,3,1\n")
    (tmp_path / "b.csv").write_text(f"{AZURE}\n2023-11-16 18:00:00,9,1\n2023-11-16 18:00:02,2,1\n")
    for place in (tmp_path, tmp_path / "*.csv", tmp_path / "[ab].csv"):
        trace = read_trace(place)
        assert trace.arrival_s.tolist() == [0.0, 1.0, 2.0, 3.0]
        assert trace.input_tokens.tolist() == [9, 1, 2, 3]
        assert len(trace.provenance["files"]) == 2
        assert "2 files were merged by time" in trace.left_out()["notes"]
    (tmp_path / "notes.txt").write_text("hello\n")
    assert "skipped in the folder: notes.txt" in read_trace(tmp_path).left_out()["notes"]
    (tmp_path / "c.csv").write_text(f"{HEADER}\n0,1,1\n")
    with pytest.raises(TraceError, match=r"c\.csv: is of the format native, .*a\.csv of azure; legal are files of one"):
        read_trace(tmp_path)


def test_the_same_file_twice_is_said(tmp_path):
    for name, start in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / f"{name}.csv").write_text(f"{HEADER}\n{start},1,1\n{start + 2},3,1\n")
    trace = read_trace(tmp_path)
    assert len(trace.arrival_s) == 6
    assert any(
        note.startswith("files of the same content") and note.endswith("a.csv = b.csv") for note in trace.left_out()["notes"]
    )
    (tmp_path / "b.csv").unlink()
    assert trace.left_out()["notes"] and not any("same content" in note for note in read_trace(tmp_path).left_out()["notes"])


def test_parts_may_differ_in_their_optional_columns(tmp_path):
    (tmp_path / "a.csv").write_text(f"{HEADER},route\n0,1,1,chat\n")
    (tmp_path / "b.csv").write_text(f"{HEADER},priority\n1,1,1,7\n")
    trace = read_trace(tmp_path / "*.csv")
    assert trace.labels["route"].tolist() == ["chat", ""]
    assert trace.labels["priority"].tolist() == [0, 7]


def test_any_table_of_a_folder_by_a_map(tmp_path):
    for name, time in (("a", 5), ("b", 4)):
        (tmp_path / f"{name}.csv").write_text(f"ts,in,out\n{time},{time},1\n")
    columns = {"arrival_s": "ts", "input_tokens": "in", "output_tokens": "out"}
    assert read_trace(tmp_path, columns=columns).input_tokens.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("none.csv", "no such trace file"),
        ("*.nothing", "no file matches"),
        ("/dev/null", "is no regular file"),
        ("x" * 5000, "File name too long"),
        ("a\0b", "cannot be read"),
        ("http://127.0.0.1/t.csv", "is no https address"),
        ("file:///etc/passwd", "is no https address"),
    ],
)
def test_what_is_no_place(tmp_path, monkeypatch, place, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError, match=message):
        read_trace(place)


def test_a_folder_of_no_trace_is_refused_before_it_is_hashed(tmp_path, monkeypatch):
    (tmp_path / "big").write_text("no trace\n")
    monkeypatch.setattr("sim.workload.rows.fingerprint", None)
    with pytest.raises(TraceError, match="holds no file of a known format"):
        input_files(WorkloadSpec(path=str(tmp_path)))


def test_standard_input_is_kept_under_the_name_of_its_content(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{HEADER}\n0,1,1\n2,3,4\n".encode())))
    trace = load_workload(WorkloadSpec(path="-"), 0)
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    (kept,) = trace.provenance["files"]
    assert read_trace(kept).input_tokens.tolist() == [1, 3]
    assert read_trace("-").input_tokens.tolist() == [1, 3]


def test_a_pipe_is_read_once_and_waited_for_in_bounds(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(f"{HEADER}\n0,1,1\n"))
    writer.start()
    assert len(read_trace(pipe)) == 1
    writer.join()
    places.kept_copy.cache_clear()
    monkeypatch.setattr(places, "FIRST_BYTE_S", 0.1)
    with pytest.raises(TraceError, match=r"nobody wrote into the pipe for 0\.1 s"):
        read_trace(pipe)
    assert [path.name for path in (tmp_path / "cache" / "inputs").iterdir() if path.suffix == ".part"] == []


def test_what_can_be_read_once_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "MOST_BYTES", 10)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 11)))
    with pytest.raises(TraceError, match="-: is larger than"):
        read_trace("-")
