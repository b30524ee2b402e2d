"""``traces``: what it prints, writes, and how it ends on bad input."""

import json

import pytest
import yaml

from sim.cli.traces import main
from sim.spec import GeneratorSpec, WorkloadSpec
from sim.spec.arrivals import GammaArrivals
from sim.spec.traffic import LognormalLengths
from sim.workload import generate, load_workload, read_trace, write_trace

SPEC = GeneratorSpec(
    duration_s=300, arrivals=GammaArrivals(rate_per_s=4, cv=1.5), input_tokens=LognormalLengths(mu=6, sigma=1),
    output_tokens=LognormalLengths(mu=4, sigma=1),
)  # fmt: skip


@pytest.fixture
def trace_file(tmp_path):
    write_trace(generate(SPEC, 0), tmp_path / "t.csv")
    return tmp_path / "t.csv"


def test_stats_prints_figures_and_draws_a_picture(trace_file, tmp_path, capsys):
    assert main(["stats", str(trace_file), "--json", "--picture", str(tmp_path / "t.svg")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"] == len(read_trace(trace_file))
    assert found["idc_1h"] is None
    assert (tmp_path / "t.svg").read_text().startswith("<svg")
    assert main(["stats", str(trace_file)]) == 0
    assert "idc_1s" in capsys.readouterr().out


def test_convert_maps_any_csv_and_says_what_it_left_out(tmp_path, capsys):
    (tmp_path / "c.csv").write_text("ts,in,out\n1000,5,6\n2000,x,6\n3000,7,8\n")
    target = tmp_path / "native.parquet"
    columns = "arrival_ms=ts,input_tokens=in,output_tokens=out"
    assert main(["convert", str(tmp_path / "c.csv"), str(target), "--columns", columns]) == 2
    assert "data row 2 (line 3): input_tokens is 'x'" in capsys.readouterr().err
    assert not target.exists()
    assert main(["convert", str(tmp_path / "c.csv"), str(target), "--columns", columns, "--lenient"]) == 2
    assert "33.3%" in capsys.readouterr().err
    lenient = ["--lenient", "--lenient-max-loss", "0.4"]
    assert main(["convert", str(tmp_path / "c.csv"), str(target), "--columns", columns, *lenient]) == 0
    assert "left out 1 of 3 rows: 1 input_tokens not a whole number" in capsys.readouterr().err
    assert read_trace(target).arrival_s.tolist() == [0.0, 2.0]


def test_fit_writes_a_workload_that_synth_and_a_run_can_use(trace_file, tmp_path, capsys):
    config, made = tmp_path / "conf" / "workload" / "mine.yaml", tmp_path / "made.csv"
    assert main(["fit", str(trace_file), str(config)]) == 0
    plain = yaml.safe_load(config.read_text())
    spec = WorkloadSpec(**plain)
    assert main(["synth", str(config), str(made), "--seed", "3"]) == 0
    assert read_trace(made).arrival_s.tolist() == load_workload(spec, 3).arrival_s.tolist()
    assert "synthetic" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats", "none.csv"], "none.csv: no such trace file"),
        (["stats", "TRACE", "--rate-scale", "-1"], "rate_scale"),
        (["stats", "TRACE", "--format", "bogus"], "workload.format is 'bogus'"),
        (["convert", "TRACE", "out.txt"], ".csv or .parquet"),
        (["synth", "TRACE", "out.csv"], "t.csv: lacks generator:"),
        (["fetch", "bogus"], "'bogus' is no public trace"),
    ],
)
def test_bad_input_ends_with_2_and_one_message(trace_file, arguments, message, capsys):
    assert main([str(trace_file) if part == "TRACE" else part for part in arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_fetch_lists_what_it_knows(capsys):
    assert main(["fetch"]) == 0
    assert "azure_conv_2023  CC-BY-4.0  https://" in capsys.readouterr().out
