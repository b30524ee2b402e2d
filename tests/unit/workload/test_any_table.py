"""Tables of one's own: separators, encodings, compression, dates, numbers; and what is refused, with its place."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sim.cli.overrides import as_hydra_reads
from sim.cli.traces import main
from sim.errors import ConfigError, TraceError
from sim.workload import read_trace, write_trace

HEADER = "arrival_s,input_tokens,output_tokens"
MAP = {"arrival_s": "time", "input_tokens": "in", "output_tokens": "out"}
ROWS = [(0.0, 374, 44), (4.5, 1396, 109), (5.25, 879, 55)]


def file_with(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text(separator=",", form=str, header=("time", "in", "out")):
    lines = [separator.join(header), *(separator.join(map(form, row)) for row in ROWS)]
    return "\n".join(lines) + "\n"


def check(trace):
    assert trace.arrival_s.tolist() == [0.0, 4.5, 5.25]
    assert list(zip(trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True)) == [row[1:] for row in ROWS]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_and_encodings(tmp_path, separator, encoding):
    check(read_trace(file_with(tmp_path, text(separator).encode(encoding)), columns=MAP))


def test_decimal_commas_and_thousands(tmp_path):
    german = {0.0: "0,0", 4.5: "4,50", 5.25: "5,25", 1396: "1.396"}
    check(read_trace(file_with(tmp_path, text(";", lambda value: german.get(value, str(value)))), columns=MAP))
    english = {1396: '"1,396"'}
    check(read_trace(file_with(tmp_path, text(",", lambda value: english.get(value, str(value)))), columns=MAP))
    both = file_with(tmp_path, "time;in;out\n0,5;1;1\n1.25;1;1\n")
    with pytest.raises(TraceError, match="decimal commas and decimal points"):
        read_trace(both, columns=MAP)
    unclear = file_with(tmp_path, "time;in;out\n1,234;1;1\n2,345;1;1\n")
    with pytest.raises(TraceError, match=r"a decimal or a thousands sign\? Say workload\.decimal"):
        read_trace(unclear, columns=MAP)
    assert read_trace(unclear, columns=MAP, decimal=",").arrival_s.tolist() == pytest.approx([0.0, 1.111])
    assert read_trace(unclear, columns=MAP, decimal=".").arrival_s.tolist() == [0.0, 1111.0]


def zipped(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/t.csv", content)
    return packed.getvalue()


PACKERS = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": zipped,
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_files(tmp_path, kind):
    packed = PACKERS[kind](text().encode())
    check(read_trace(file_with(tmp_path, packed, f"t.csv.{kind}"), columns=MAP))
    several = PACKERS[kind](text().encode()[:20]) + PACKERS[kind](text().encode()[20:])
    if kind not in ("zip",):
        check(read_trace(file_with(tmp_path, several), columns=MAP))
    half = len(packed) // 2
    for damaged in (packed[:-9], packed[: half - 4] + bytes(8) + packed[half + 4 :]):
        with pytest.raises(TraceError, match=r"t\.csv"):
            read_trace(file_with(tmp_path, damaged), columns=MAP)


def test_a_zip_holds_one_trace(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", text())
        archive.writestr("../../b.csv", text())
    with pytest.raises(TraceError, match="holds 2 files; legal is a zip with one trace"):
        read_trace(file_with(tmp_path, packed.getvalue()), columns=MAP)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "zip"])
def test_what_unpacks_out_of_proportion_is_refused_in_little_memory(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("sim.workload.packed.FREE_BYTES", 1 << 20)
    bomb = PACKERS[kind](f"{HEADER}\n".encode() + b"0,1,1\n" * 2_000_000)
    with pytest.raises(TraceError, match="unpacks to more than 200 times its size"):
        read_trace(file_with(tmp_path, bomb))
    one_line = PACKERS[kind](f"{HEADER}\n".encode() + b"0" * 8_000_000)
    with pytest.raises(TraceError, match=r"longer than 4 MiB|200 times"):
        read_trace(file_with(tmp_path, one_line))


def test_a_parquet_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.workload.formats.batches.FREE_BYTES", 1 << 20)
    columns = {"arrival_s": np.zeros(500_000), "input_tokens": np.ones(500_000, int), "output_tokens": np.ones(500_000, int)}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(TraceError, match=r"bomb\.parquet: unpacks to 11 MiB in 500,000 rows"):
        read_trace(tmp_path / "bomb.parquet")


def test_a_long_text_that_a_small_parquet_repeats_stays_one_text(tmp_path):
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 3000), ["x" * 1_000_000])
    columns = {"arrival_s": np.arange(3000.0), "input_tokens": [1] * 3000, "output_tokens": [1] * 3000, "route": repeated}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "t.parquet", compression="zstd", store_schema=False)
    routes = read_trace(tmp_path / "t.parquet").labels["route"]
    assert routes[0] is routes[2999]


def test_json_lines_and_lists(tmp_path):
    native = [dict(zip(HEADER.split(","), row, strict=True)) for row in ROWS]
    lines = "".join(json.dumps(entry) + "\n" for entry in native)
    check(read_trace(file_with(tmp_path, lines, "n.jsonl")))
    check(read_trace(file_with(tmp_path, json.dumps(native, indent=1), "n.json")))
    nested = [{"at": {"time": row[0]}, "usage": {"in": row[1], "out": str(row[2])}, "hashes": [1, 2]} for row in ROWS]
    lines = "".join(json.dumps(entry) + "\n" for entry in nested)
    columns = {"arrival_s": "at.time", "input_tokens": "usage.in", "output_tokens": "usage.out", "block_hashes": "hashes"}
    trace = read_trace(file_with(tmp_path, lines, "m.jsonl"), columns=columns)
    check(trace)
    assert trace.labels["block_hashes"].tolist() == [(1, 2)] * 3


def test_foreign_parquet_with_times_and_missing_values(tmp_path):
    stamps = pa.array([1_700_000_000_000_000 + int(row[0] * 1e6) for row in ROWS], pa.timestamp("us", "Europe/Berlin"))
    table = pa.table({
        "time": stamps, "in": pa.array([row[1] for row in ROWS], pa.int32()), "out": [float(row[2]) for row in ROWS],
        "who": pa.array(["a", None, "b"]).dictionary_encode(), "unused": [[1], [2], []],
    })  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    trace = read_trace(tmp_path / "t.parquet", columns=MAP | {"tenant": "who"})
    check(trace)
    assert trace.labels["tenant"].tolist() == ["a", "", "b"]
    with pytest.raises(TraceError, match="lacks column nope; found time, in, out, who, unused"):
        read_trace(tmp_path / "t.parquet", columns=MAP | {"tenant": "nope"})


@pytest.mark.parametrize(
    ("first", "second", "apart_s"),
    [
        ("11/16/2023 06:15:46 PM", "11/16/2023 06:15:47 PM", 1),
        ("16/11/2023 18:15:46", "16/11/2023 18:15:46.25", 0.25),
        ("16.11.2023 18:15:46", "17.11.2023 18:15:46", 86400),
        ("05.11.2023 18:15", "06.11.2023 18:15", 86400),
        ("2023/11/16 18:15:46", "2023/11/16 18:15:47", 1),
        ("20231116T181546Z", "20231116T181547Z", 1),
        ("16 Nov 2023 18:15:46", "16 Nov 2023 18:16:46", 60),
        ("Nov 16, 2023 6:15:46 PM", "Nov 16, 2023 6:15:47 PM", 1),
        ("16/Nov/2023:18:15:46 +0000", "16/Nov/2023:19:15:47 +0100", 1),
        ("Thu, 16 Nov 2023 18:15:46 GMT", "Thu, 16 Nov 2023 18:15:47 GMT", 1),
        ("2023-11-16 18:15:46,123", "2023-11-16 18:15:46,223", 0.1),
        ("2023-11-16T18:15:46.6805900", "2023-11-16T18:15:46.6805901", 1e-7),
        ("2023-11-16T18:15:46+01:00", "2023-11-16T18:15:46Z", 3600),
        ("1700158546", "1700158547.5", 1.5),
        ("Thu Nov 16 18:15:46 2023", "Thu Nov 16 18:15:47 2023", 1),
        ("Mon Nov  6 18:15:46 UTC 2023", "Mon Nov  6 18:15:47 UTC 2023", 1),
        ("[16/Nov/2023:18:15:46 +0000]", "[16/Nov/2023:19:15:47 +0100]", 1),
    ],
)
def test_dates_of_any_common_order(tmp_path, first, second, apart_s):
    path = file_with(tmp_path, f'time;in;out\n"{first}";1;1\n"{second}";1;1\n')
    assert read_trace(path, columns=MAP).arrival_s.tolist() == pytest.approx([0.0, apart_s], abs=1e-9)


def test_dates_that_can_be_read_in_two_ways_are_refused(tmp_path):
    path = file_with(tmp_path, "time,in,out\n03/04/2023 06:15,1,1\n03/05/2023 06:15,1,1\n")
    with pytest.raises(
        TraceError, match=r"'03/04/2023 06:15' can be read in more than one way.*'%d/%m/%Y %H:%M', '%m/%d/%Y %H:%M'"
    ):
        read_trace(path, columns=MAP)
    assert read_trace(path, columns=MAP, time_format="%d/%m/%Y %H:%M").arrival_s.tolist() == [0.0, 30 * 86400.0]
    assert read_trace(path, columns=MAP, time_format="%m/%d/%Y %H:%M").arrival_s.tolist() == [0.0, 86400.0]
    with pytest.raises(ConfigError, match=r"time_format is 'dd/mm'; legal are auto, iso, s, ms, us, ns and a pattern"):
        read_trace(path, columns=MAP, time_format="dd/mm")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("Nov 16 18:15:01", "Nov 16 18:15:02", "'Nov 16 18:15:01' has no year.*here '%b %d %H:%M:%S'"),
        ("16 Nov 18:15:01", "16 Nov 18:15:02", "has no year.*'%d %b %H:%M:%S'"),
        ("11/16 18:15:01.5", "11/16 18:15:02.5", "has no year.*'%m/%d %H:%M:%S.%f' or '%d/%m %H:%M:%S.%f'"),
        ("20231116", "20231117", "20231116 is a date by its digits: .*--time-format. is '%Y%m%d'"),
        ("20231116181501", "20231116181502", "is a date by its digits: .*'%Y%m%d%H%M%S'"),
        ("45246.5", "45246.50001736111", "45246.5 is a day's number by its digits"),
        (
            "2023-11-16 18:15:01 EST",
            "2023-11-16 18:15:02 EST",
            r"data row 1 .*--time-format.*a zone as \+01:00, not by name",
        ),
    ],
)
def test_times_that_need_a_word_are_asked_about(tmp_path, first, second, message):
    path = file_with(tmp_path, f"time,in,out\n{first},1,1\n{second},1,1\n")
    with pytest.raises(TraceError, match=message):
        read_trace(path, columns=MAP)


def test_a_column_is_mapped_once(capsys):
    assert main(["stats", "t.csv", "--columns", "arrival_s=t,input_tokens=a,input_tokens=b,output_tokens=c"]) == 2
    assert "--columns maps input_tokens more than once" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"workload\.columns maps input_tokens more than once"):
        as_hydra_reads(["workload.columns={arrival_s: t, input_tokens: a,input_tokens: b, output_tokens: c}"])


def test_a_date_in_digits_or_without_a_year_is_read_as_the_user_says(tmp_path):
    path = file_with(tmp_path, "time,in,out\n20231116,1,1\n20231117,1,1\n")
    assert read_trace(path, columns=MAP, time_format="%Y%m%d").arrival_s.tolist() == [0.0, 86400.0]
    assert read_trace(path, columns=MAP, time_format="ms").arrival_s.tolist() == pytest.approx([0.0, 0.001], abs=1e-9)
    path = file_with(tmp_path, "time,in,out\nNov  6 18:15:01,1,1\nNov  6 18:15:02,1,1\n")
    assert read_trace(path, columns=MAP, time_format="%b %d %H:%M:%S").arrival_s.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("stamp", ["31/02/2023 06:15", "16/11/2023 06:١٥", "9999-01-01", "soon", "1_000", "٣"])
def test_a_time_that_is_none_is_refused_with_its_row(tmp_path, stamp):
    for first in ("16/11/2023 06:15", "2023-11-16", "5"):
        path = file_with(tmp_path, f"time,in,out\n{first},1,1\n{stamp},1,1\n")
        with pytest.raises(TraceError, match=r"data row 2 \(line 3\): arrival_s is"):
            read_trace(path, columns=MAP)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            f'{HEADER},route\n0,1,1,a\n1,1,1,"b\n2,1,1,c\n3,1,1,d"\n',
            r"data row 2 \(line 3\): a quote opens and is not closed",
        ),
        (f'{HEADER},route\n0,1,1,a\n\n1,1,1,"b"c\n', r"data row 2 \(line 4\): a quote opens"),
        (f'{HEADER},"route\n0,1,1,a\n', r"line 1: a quote opens"),
        (f"sep=,\n{HEADER}\n0,1,1\n", r"line 1: 'sep=,' is no header; delete that line"),
        (f"# exported\n{HEADER}\n0,1,1\n", r"line 1: '# exported' is no header; delete that line"),
        (f"{HEADER}\r0,1,1\r1,1,1\r", "bare carriage return"),
        (f"{HEADER},route\n0,1,1,a\n1,1,1,b\rc\n", r"data row 2 \(line 3\): has a bare carriage return"),
        (f"{HEADER},ro\0ute\n0,1,1,a\n", "line 1: holds a NUL byte"),
        (f"{HEADER},route\n0,1,1,a\n1,1,1,".encode() + b"\xff\n", r"line 3, byte 7: b'\\xff' is no UTF-8"),
        (f"{HEADER},route,route\n0,1,1,a,b\n", "header: has column route more than once"),
        (f"{HEADER},priority\n0,1,1,inf\n", r"data row 1 .*priority is 'inf'"),
        (f"{HEADER},priority\n0,1,1,1e300\n", r"data row 1 .*priority is '1e300'"),
        (f"{HEADER},prefix_id,prefix_tokens\n0,1,1,a,-1\n", r"prefix_tokens is '-1'; legal is a whole number from 0"),
        (f"{HEADER},turn\n0,1,1,-1\n", r"turn is '-1'"),
        (f"{HEADER}\n0,1_000,1\n", r"input_tokens is '1_000'"),
        (f"{HEADER}\n0,١٢,1\n", r"input_tokens is '١٢'"),
        (f"{HEADER}\n1700000000123,1,1\n", r"data row 1 .*Unix ms by its size"),
        (f"{HEADER}\n0,1,1\n5,1,1\n1700000000,1,1\n", r"span 54 years: 5 s is followed by 1700000000 s"),
        (
            '{"arrival_s": 0, "input_tokens": 5, "output_tokens": 5, "input_tokens": 9}\n',
            r"line 1: is no JSON \(the key 'input_tokens'",
        ),
        ('{"arrival_s": 0, "input_tokens": true, "output_tokens": 5}\n', r"line 1: input_tokens is 'True'"),
        (
            '{"timestamp": 0, "input_length": 5, "output_length": 3, "hash_ids": ' + "[" * 100_000 + "}\n",
            "line 1: is no JSON",
        ),
        ('{"timestamp": NaN, "input_length": 5, "output_length": 3, "hash_ids": []}\n', "line 1: arrival_s is nan"),
    ],
)
def test_what_is_refused_names_its_place(tmp_path, content, message):
    path = file_with(tmp_path, content)
    with pytest.raises(TraceError, match=message) as error:
        read_trace(path)
    assert str(path) in str(error.value)


def test_quotes_that_mean_themselves_are_kept(tmp_path):
    path = file_with(tmp_path, f'{HEADER},route\n0,1,1,"a, ""b"""\n1,1,1,5" screen\n2,1,1,""\n')
    assert read_trace(path).labels["route"].tolist() == ['a, "b"', '5" screen', ""]


def test_unix_seconds_become_zero_with_a_word(tmp_path):
    path = file_with(tmp_path, f"{HEADER}\n1700158546.5,1,1\n1700158548.5,1,1\n")
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    assert trace.left_out()["notes"] == [
        "arrival times are Unix seconds: the first, 1700158546.5 (2023-11-16 18:15:46.500+00:00), became 0"
    ]
    assert read_trace(path, until_s=1.0).arrival_s.tolist() == [0.0, 2.0]


def test_a_start_far_from_zero_is_said_and_after_a_day_moved(tmp_path):
    trace = read_trace(file_with(tmp_path, f"{HEADER}\n3456789.5,1,1\n3456791.5,1,1\n"))
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    assert trace.left_out()["notes"] == [
        "arrival times begin 3456789.5 s (40.0 days) after zero, by a clock of their own: the first became 0"
    ]
    trace = read_trace(file_with(tmp_path, f"{HEADER}\n7200,1,1\n7201,1,1\n"))
    assert trace.arrival_s.tolist() == [7200.0, 7201.0]
    assert trace.left_out()["notes"][0].startswith(
        "the first request arrives 7200 s after zero, later than all that were read span"
    )
    assert not read_trace(file_with(tmp_path, f"{HEADER}\n7200,1,1\n20000,1,1\n")).left_out()["notes"]
    days = file_with(tmp_path, f"{HEADER}\n19675.0,1,1\n19675.00001736111,1,1\n")
    with pytest.raises(TraceError, match="arrival_s begins with 19675, a day's number by its digits"):
        read_trace(days)
    assert read_trace(days, columns={name: name for name in HEADER.split(",")}, time_format="s").arrival_s[0] == 0.0


def test_lenient_sorts_and_says_how_far(tmp_path):
    rng = np.random.default_rng(1)
    times = rng.permutation(300) * 2.0
    path = file_with(tmp_path, f"{HEADER}\n" + "".join(f"{time},{int(time) + 1},1\n" for time in times))
    with pytest.raises(TraceError, match=r"does not step back, or workload\.lenient=true"):
        read_trace(path)
    trace = read_trace(path, lenient=True)
    assert trace.arrival_s.tolist() == sorted(times)
    assert trace.input_tokens.tolist() == [time + 1 for time in sorted(times)]
    moved = trace.left_out()["sorted"]
    assert moved["steps_back"] == int((np.diff(times) < 0).sum())
    assert moved["rows"] == int((np.maximum.accumulate(times) > times).sum())
    assert moved["furthest_s"] == float((np.maximum.accumulate(times) - times).max())
    cut = read_trace(path, lenient=True, until_s=100.0)
    assert cut.arrival_s[cut.arrival_s < 100].tolist() == list(np.arange(0.0, 100.0, 2.0))


def test_only_as_many_rows_as_are_needed_are_read(tmp_path):
    path = file_with(tmp_path, f"{HEADER}\n" + "".join(f"{row},1,1\n" for row in range(500_000)) + "broken\n")
    assert len(read_trace(path, enough=10)) >= 10
    with pytest.raises(TraceError, match="data row 500001"):
        read_trace(path)


def test_what_is_written_is_read_again(tmp_path):
    path = file_with(tmp_path, f"{HEADER},block_hashes,route\n0,10,1,3|4,a\n1.5,10,1,,b\n")
    trace = read_trace(path)
    for name in ("t.parquet", "u.csv"):
        write_trace(trace, tmp_path / name)
        again = read_trace(tmp_path / name)
        assert again.labels["block_hashes"].tolist() == [(3, 4), ()]
        assert again.arrival_s.tolist() == [0.0, 1.5]
