"""The native format: what is read, what is refused and how the refusal reads."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sim.errors import OutputError, TraceError
from sim.workload import Trace, read_trace, write_trace
from sim.workload.formats.native import NativeFormat
from sim.workload.rows import Reading

HEADER = "arrival_s,input_tokens,output_tokens"


def file_with(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_columns_in_any_order_with_labels(tmp_path):
    path = file_with(
        tmp_path,
        "route,output_tokens,arrival_s,input_tokens,turn,block_hashes,priority\n"
        "chat,5,0.5,10,1,,\n,6,0.5,11,,3|4|5,-2\n\nchat,7,2,12.0,2,,1\n",
    )
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.5, 0.5, 2.0]
    assert trace.input_tokens.tolist() == [10, 11, 12]
    assert trace.output_tokens.tolist() == [5, 6, 7]
    assert trace.labels["route"].tolist() == ["chat", "", "chat"]
    assert trace.labels["turn"].tolist() == [1, -1, 2]
    assert trace.labels["priority"].tolist() == [0, -2, 1]
    assert trace.labels["block_hashes"].tolist() == [(), (3, 4, 5), ()]
    assert trace.provenance["files"][str(path)]["bytes"] == path.stat().st_size


def test_adapters_and_accepted_drafts_come_back(tmp_path):
    path = file_with(tmp_path, HEADER + ",lora,accept\n0,10,5,law,2|0|3\n1,10,5,,\n2,10,5,chat,1\n")
    trace = read_trace(path)
    assert trace.labels["lora"].tolist() == ["law", "", "chat"]
    assert trace.labels["accept"].tolist() == [(2, 0, 3), (), (1,)]
    for name in ("again.csv", "again.parquet"):
        write_trace(trace, tmp_path / name)
        again = read_trace(tmp_path / name)
        assert {label: column.tolist() for label, column in again.labels.items()} == {
            label: column.tolist() for label, column in trace.labels.items()
        }
    for wrong in ("-1", "1.5|2", "many", "65"):
        with pytest.raises(TraceError, match=r"accept is .*; legal is whole numbers from 0 to 64"):
            read_trace(file_with(tmp_path, HEADER + f",accept\n0,10,5,{wrong}\n", "wrong.csv"))


@pytest.mark.parametrize(
    ("rows", "where", "found"),
    [
        ("0,1,1\nx,1,1", "data row 2 (line 3)", "arrival_s is 'x'"),
        ("0,1,1\n\n\n-1,1,1", "data row 2 (line 5)", "arrival_s is '-1'"),
        ("0,1,1\nnan,1,1", "data row 2 (line 3)", "arrival_s is 'nan'"),
        ("0,1,1\ninf,1,1", "data row 2 (line 3)", "arrival_s is 'inf'"),
        ("0,1,1\n,1,1", "data row 2 (line 3)", "arrival_s is ''"),
        ("0,0,1", "data row 1 (line 2)", "input_tokens is '0'"),
        ("0,1.5,1", "data row 1 (line 2)", "input_tokens is '1.5'"),
        ("0,-3,1", "data row 1 (line 2)", "input_tokens is '-3'"),
        ("0,1,0", "data row 1 (line 2)", "output_tokens is '0'"),
        ("0,1,NaN", "data row 1 (line 2)", "output_tokens is 'NaN'"),
        ("0,1,99999999999", "data row 1 (line 2)", "output_tokens is '99999999999'"),
        ("0,1,1\n5,1,1\n4,1,1", "data row 3 (line 4)", "earlier than the row before it (5)"),
        ("0,1,1\n5,1", "data row 2 (line 3)", "number of fields"),
        ("0,1,1\n5,1,1,9", "data row 2 (line 3)", "number of fields"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, rows, where, found):
    path = file_with(tmp_path, f"{HEADER}\n{rows}\n")
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert str(path) in str(error.value)
    assert where in str(error.value)
    assert found in str(error.value)
    assert "legal is" in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("turn", "a", "turn is 'a'"),
        ("turn", "-4", "turn is '-4'"),
        ("max_output_tokens", "0", "max_output_tokens is '0'"),
        ("priority", "1.5", "priority is '1.5'"),
        ("prefix_tokens", "11", "prefix_tokens is '11'; legal is at most input_tokens"),
    ],
)
def test_labels_are_checked_too(tmp_path, column, value, found):
    path = file_with(tmp_path, f"{HEADER},{column}\n0,10,1,1\n1,10,1,{value}\n")
    with pytest.raises(TraceError, match="data row 2"):
        read_trace(path)
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert found in str(error.value)


def test_block_hashes_exclude_the_other_ways_to_name_a_prompt(tmp_path):
    path = file_with(tmp_path, f"{HEADER},block_hashes,prompt_id\n0,10,1,7,\n1,10,1,7,a\n")
    with pytest.raises(TraceError, match=r"data row 2 .*prompt_id is 'a'; legal is empty where block_hashes is given"):
        read_trace(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty|known"),
        (f"{HEADER}\n", "no usable request"),
        ("arrival_s,input_tokens\n0,1\n", "lacks column output_tokens"),
        ("arrival_s,input_tokens,output_tokens,arrival_s\n0,1,1,1\n", "more than once"),
        ("a,b\n1,2\n", "of no known format"),
        (b"\x00\x01\xff\xfe" * 20, "of no known format"),
        (b"PAR1 not really", "not a readable Parquet"),
    ],
)
def test_files_that_are_no_trace(tmp_path, text, message):
    path = file_with(tmp_path, text)
    with pytest.raises(TraceError, match=message) as error:
        read_trace(path)
    assert str(path) in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(TraceError, match="no such trace file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="folder"):
        read_trace(tmp_path)
    with pytest.raises(TraceError, match=r"workload\.format is 'bogus'; legal are auto, records, chats, native"):
        read_trace(file_with(tmp_path, HEADER), "bogus")


def test_lenient_sorts_drops_and_counts(tmp_path):
    path = file_with(tmp_path, f"{HEADER}\n0,1,1\n1,1\nx,1,1\n3,0,1\n2,5,5\n4,1,nan\n6,7,8\n5,1,1\n")
    with pytest.raises(TraceError, match=r"would leave out 4 of 8 rows, 50\.0% .*lenient_max_loss.* which is 0\.01"):
        read_trace(path, lenient=True)
    trace = read_trace(path, lenient=True, lenient_max_loss=0.5)
    assert trace.arrival_s.tolist() == [0, 2, 5, 6]
    left_out = trace.left_out()
    assert sum(left_out["dropped"].values()) == 4
    assert left_out["dropped"]["wrong number of fields"] == 1
    assert left_out["sorted"] == {"rows": 1, "steps_back": 1, "furthest_s": 1.0}
    assert left_out["rows_read"] == 8


def test_unknown_columns_are_named_once(tmp_path, capsys):
    path = file_with(tmp_path, f"{HEADER},colour,size\n" + "0,1,1,red,3\n" * 5)
    assert len(read_trace(path)) == 5
    assert capsys.readouterr().err.count("colour, size") == 1


def test_windows_line_ends_gzip_bom_and_spaces(tmp_path):
    text = "\ufeff arrival_s ,input_tokens,output_tokens\r\n0,1,2\r\n1.5, 3 ,4\r\n\r\n"
    plain = read_trace(file_with(tmp_path, text))
    packed = read_trace(file_with(tmp_path, gzip.compress(text.encode()), "t.csv.gz"))
    for trace in (plain, packed):
        assert trace.arrival_s.tolist() == [0, 1.5]
        assert trace.input_tokens.tolist() == [1, 3]


def test_parquet_of_many_row_groups_is_read_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.workload.formats.batches._TOGETHER", 100_000)
    rows, held = 1_000_000, []
    columns = {"arrival_s": np.arange(rows) / 7, "input_tokens": np.arange(rows) + 1, "output_tokens": np.arange(rows) % 9 + 1}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=33_333)
    before = pa.total_allocated_bytes()
    for chunk in NativeFormat().chunks(Reading(tmp_path / "t.parquet")):
        held.append(pa.total_allocated_bytes() - before)
        last = chunk
    assert last.rows[-1] == rows and last.input_tokens[-1] == rows
    assert max(held) < 24 * rows / 3
    trace = read_trace(tmp_path / "t.parquet")
    assert (trace.arrival_s == columns["arrival_s"]).all() and (trace.output_tokens == columns["output_tokens"]).all()


def test_parquet_errors_name_the_row(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {"arrival_s": [0.0, float("nan")], "input_tokens": [1, 1], "output_tokens": [1, 1]}
    pyarrow.parquet.write_table(pa.table(columns), path)
    with pytest.raises(TraceError, match=r"data row 2: arrival_s is nan"):
        read_trace(path)


def test_an_unwritable_place_leaves_nothing(tmp_path):
    trace = Trace(np.zeros(1), np.ones(1, dtype=int), np.ones(1, dtype=int))
    with pytest.raises(OutputError, match="cannot be written"):
        write_trace(trace, tmp_path / "none" / "t.csv")
    with pytest.raises(OutputError, match=r"\.csv or \.parquet"):
        write_trace(trace, tmp_path / "t.txt")
    assert list(tmp_path.iterdir()) == []
