"""A configuration folder from someone else is data: none of it runs, whatever it tries; what it may say is read."""

from __future__ import annotations

import os
import pickle
from importlib import resources
from pathlib import Path

import pytest
import yaml

from sim.cli.compose import composed_scenario
from sim.cli.plain_yaml import read_plain_yaml
from sim.errors import ConfigError

GPU = (resources.files("sim.configs") / "gpu" / "l40s.yaml").read_text(encoding="utf-8").replace("name: l40s", "name: mine")
INDENTED = "gpu:\n" + "".join(f"  {line}\n" for line in GPU.splitlines())
CALLS = "{_target_: pandas.read_pickle, _args_: [poc.pkl]}"


def at_root(extra: str) -> dict[str, str]:
    """A GPU that works, and ``extra`` beside it at the root of the configuration."""
    return {"gpu/mine.yaml": f"# @package _global_\n{INDENTED}{extra}"}


def in_gpu(extra: str) -> dict[str, str]:
    return {"gpu/mine.yaml": GPU + extra}


BOMB = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
LOGGING = "{version: 1, handlers: {f: {class: logging.FileHandler, filename: precious.txt, mode: w}}, root: {handlers: [f]}}"

ATTACKS = {
    "callbacks": at_root(f"hydra:\n  callbacks:\n    boo: {CALLS}\n"),
    "callbacks_inline": at_root(f"hydra: {{callbacks: {{boo: {CALLS}}}}}\n"),
    "callbacks_by_merge": at_root(f"spot: &x {{hydra: {{callbacks: {{boo: {CALLS}}}}}}}\n<<: *x\n"),
    "job_logging": at_root(f"hydra:\n  job_logging: {LOGGING}\n"),
    "hydra_logging": at_root(f"hydra:\n  hydra_logging: {LOGGING}\n"),
    "run_dir": at_root("hydra: {run: {dir: elsewhere}}\n"),
    "env_set": at_root("hydra: {job: {env_set: {PATH: evil}}}\n"),
    "launcher": at_root(f"hydra: {{launcher: {CALLS}}}\n"),
    "sweep_of_hydra": at_root("hydra: {mode: MULTIRUN, sweeper: {params: {hydra.job_logging: none}}}\n"),
    "sweep_of_launchers": at_root("hydra: {sweeper: {params: {hydra/launcher: joblib}}}\n"),
    "sweep_of_the_environment": at_root("hydra: {sweeper: {params: {gpu.name: '${oc.env:SECRET}'}}}\n"),
    "sweep_out_of_the_folder": at_root("hydra: {sweeper: {params: {slo: ../../outside}}}\n"),
    "sweeper": at_root(f"hydra: {{sweeper: {CALLS}}}\n"),
    "sweeper_and_more": at_root("hydra: {sweeper: {params: {seed: '1,2'}}, verbose: true}\n"),
    "hydra_in_quotes": at_root(f'"hydra": {{callbacks: {{boo: {CALLS}}}}}\n'),
    "hydra_in_escapes": at_root(f'"\\x68ydra": {{callbacks: {{boo: {CALLS}}}}}\n'),
    "package_hydra": {"gpu/mine.yaml": f"# @package hydra\ncallbacks: {{boo: {CALLS}}}\n"},
    "package_callbacks": {"gpu/mine.yaml": f"# @package hydra.callbacks\nboo: {CALLS}\n"},
    "package_below_global": {"gpu/mine.yaml": f"# @package _global_.hydra.callbacks\nboo: {CALLS}\n"},
    "package_by_name": {"gpu/hydra.yaml": f"# @package _name_\ncallbacks: {{boo: {CALLS}}}\n"},
    "target": in_gpu(f"boo: {CALLS}\n"),
    "target_as_gpu": {"gpu/mine.yaml": f"_target_: pandas.read_pickle\n_args_: [poc.pkl]\n{GPU}"},
    "target_nested": in_gpu(f"extra: [[1, {{a: {CALLS}}}]]\n"),
    "environment": {"gpu/mine.yaml": GPU.replace("name: mine", "name: ${oc.env:SECRET}")},
    "environment_nested": {"gpu/mine.yaml": GPU.replace("name: mine", "name: ${oc.${x}:SECRET}")},
    "environment_in_a_key": in_gpu('"${oc.env:SECRET}": 1\n'),
    "decode": {"gpu/mine.yaml": GPU.replace("name: mine", "name: ${oc.decode:'${oc.env:SECRET}'}")},
    "own_command": {"gpu/mine.yaml": GPU.replace("name: mine", "name: ${hydra:runtime.cwd}")},
    "own_folders": {"gpu/mine.yaml": GPU.replace("name: mine", "name: ${hydra.runtime.cwd}")},
    "custom_resolver": {"gpu/mine.yaml": GPU.replace("name: mine", "name: ${now:%Y}")},
    "defaults_launcher": {"gpu/mine.yaml": "defaults:\n  - override /hydra/launcher: joblib\n" + GPU},
    "defaults_config": {"gpu/mine.yaml": "defaults:\n  - /hydra/callbacks/boo\n" + GPU},
    "defaults_package": {
        "gpu/mine.yaml": "defaults:\n  - /search@_global_.hydra.callbacks: boo\n" + GPU,
        "search/boo.yaml": f"boo: {CALLS}\n",
    },
    "defaults_out_of_the_folder": {"gpu/mine.yaml": "defaults:\n  - ../../outside\n" + GPU},
    "defaults_from_the_root": {"gpu/mine.yaml": "defaults:\n  - //tmp/outside\n" + GPU},
    "defaults_by_reference": {"gpu/mine.yaml": "defaults:\n  - /slo: ${x}\n" + GPU},
    "defaults_by_merge": at_root("cost: &x {defaults: [{override /hydra/launcher: joblib}]}\n<<: *x\n"),
    "launcher_group": in_gpu("") | {"hydra/launcher/joblib.yaml": CALLS},
    "primary": in_gpu("") | {"config.yaml": f"hydra: {{callbacks: {{boo: {CALLS}}}}}\n"},
    "searchpath": at_root("hydra: {searchpath: [elsewhere]}\n"),
    "shadows_a_preset": in_gpu("") | {"model/llama3_8b.yaml": "name: other\n"},
    "python_tag": {"gpu/mine.yaml": "!!python/object/apply:os.system ['touch PWNED']\n"},
    "python_tag_within": in_gpu("boo: !!python/object/apply:os.system ['touch PWNED']\n"),
    "path_tag": in_gpu("boo: !!python/object/apply:pathlib.Path [a]\n"),
    "alias_bomb": in_gpu(BOMB),
    "alias_circle": in_gpu("boo: &a [*a]\n"),
    "depth": in_gpu("boo: " + "[" * 3000 + "]" * 3000 + "\n"),
    "size": in_gpu("# " + "x" * (5 << 20) + "\n"),
    "two_documents": in_gpu("---\na: 1\n"),
    "list": {"gpu/mine.yaml": "[1, 2]\n"},
    "scalar": {"gpu/mine.yaml": "7\n"},
    "binary": {"gpu/mine.yaml": "\x00\x01"},
}

ADDRESSES = {
    "plain": at_root("workload: {path: https://127.0.0.1:9/x.csv}\n"),
    "in_escapes": at_root('workload: {path: "https:\\x2f/127.0.0.1:9/x.csv"}\n'),
    "in_a_list": at_root("workload: {path: [https://127.0.0.1:9/x.csv]}\n"),
    "by_alias": at_root("slo: {source: &a https://127.0.0.1:9/x.csv}\nworkload: {path: *a}\n"),
    "by_reference": at_root("slo: {source: https://127.0.0.1:9/x.csv}\nworkload: {path: '${slo.source}'}\n"),
    "in_pieces": at_root("workload: {path: 'https:/${gpu.name}'}\n"),
    "in_capitals": at_root("workload: {path: HttpS://127.0.0.1:9/x.csv}\n"),
    "in_other_pieces": at_root("slo: {name: 's://127.0.0.1:9/x.csv'}\nworkload: {path: 'http${slo.name}'}\n"),
    "in_references": at_root("workload: {path: '${gpu.name}${gpu.name}'}\n"),
    "as_axis": at_root("hydra: {mode: MULTIRUN, sweeper: {params: {workload.path: 'https://127.0.0.1:9/x.csv'}}}\n"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``shared``, beside a pickle that leaves PWNED when it is read, and a file that logging would truncate."""
    monkeypatch.setenv("SECRET", "s3cret")
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "poc.pkl").write_bytes(pickle.dumps(_Touches()))
    (tmp_path / "outside.yaml").write_text("hydra: {}\n")
    return tmp_path / "shared"


class _Touches:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch PWNED",)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def unharmed(ended, tmp_path: Path) -> None:
    assert ended.code == 2, ended.out
    assert len(ended.message.splitlines()) <= 3
    assert "s3cret" not in ended.out + ended.err
    assert (tmp_path / "precious.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.yaml", "poc.pkl", "precious.txt", "shared"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_a_shared_folder_runs(servecap, folder: Path, attack: str) -> None:
    write(folder, ATTACKS[attack])
    preset = "hydra" if attack == "package_by_name" else "mine"
    unharmed(servecap("run", "--config-dir", "shared", f"gpu={preset}", "workload.limit=5"), folder.parent)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_shared_folder_calls_no_one(servecap, folder: Path, address: str) -> None:
    write(folder, ADDRESSES[address])
    ended = servecap("run", "--config-dir", "shared", "gpu=mine", "workload.limit=5")
    assert "allowed on your own command line" in ended.message
    unharmed(ended, folder.parent)


@pytest.mark.parametrize(
    "argv",
    [
        ["-cd", "shared"],
        ["--config-dir=shared"],
        ["--config-d", "shared"],
        ["hydra.searchpath=[shared]"],
        ["hydra.searchpath=[file://shared]"],
        ["-m", "--config-dir", "shared", "seed=1,2"],
        ["--config-dir", "shared", "--cfg", "all", "--resolve"],
        ["--config-path", "../../shared/gpu", "--config-name", "mine"],
        ["--config-dir", "shared", "--config-name", "gpu/mine"],
        ["--experimental-rerun", "poc.pkl"],
    ],
    ids=str,
)
def test_no_other_way_in(servecap, folder: Path, argv: list[str]) -> None:
    write(folder, ATTACKS["callbacks"])
    unharmed(servecap(*argv, "gpu=mine", "workload.limit=5"), folder.parent)


@pytest.mark.parametrize("verb", ["calc", "compare"])
def test_verbs_without_hydra_keep_the_same_rule(servecap, folder: Path, verb: str) -> None:
    write(folder, ATTACKS["environment"])
    argv = ["--config-dir", "shared", "gpu=mine"]
    unharmed(servecap(verb, *(argv if verb == "calc" else [" ".join(argv), "gpu=l40s"])), folder.parent)


def test_links_do_not_lead_out_of_the_folder(servecap, folder: Path) -> None:
    (folder / "gpu").mkdir(parents=True)
    (folder / "gpu" / "mine.yaml").symlink_to(folder.parent / "outside.yaml")
    ended = servecap("run", "--config-dir", "shared", "gpu=mine")
    assert (ended.code, "leads out" in ended.message) == (2, True)


def test_what_a_shared_folder_may_say(servecap, folder: Path) -> None:
    write(folder, in_gpu("") | {
        "slo/ours.yaml": "defaults: [chat]\nttft_p95_s: 1.5\n",
        "experiment/ours.yaml": "# @package _global_\ndefaults:\n  - override /gpu: mine\n  - override /slo: ours\n"
        "engine: &few {max_num_seqs: 32}\nworkload: {limit: 5}\nsearch: {max_replicas: '${engine.max_num_seqs}'}\n",
    })  # fmt: skip
    ended = servecap("run", "--config-dir", "shared", "experiment=ours", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    stored = yaml.safe_load((folder.parent / "run" / "config.yaml").read_text())
    assert (stored["gpu"]["name"], stored["slo"]["ttft_p95_s"], stored["search"]["max_replicas"]) == ("mine", 1.5, 32)
    sides = ["--config-dir shared gpu=mine", "--config-dir shared experiment=ours"]
    assert [composed_scenario(side.split()).gpu.name for side in sides] == ["mine", "mine"]
    assert "mine" in servecap("--config-dir", "shared", "--help").out


@pytest.mark.parametrize("number", ["1_000", "0100", "1:30", "190:20:30.15", "1_0.5", "1_0e3", "-0_1", "08"])
def test_numbers_mean_what_they_say(servecap, folder: Path, number: str) -> None:
    write(folder, {"slo/ours.yaml": f"defaults: [chat]\nttft_p95_s: {number}\n"})
    ended = servecap("run", "--config-dir", "shared", "slo=ours", "workload.limit=5")
    assert (ended.code, "ours.yaml, line 2: expected a number in plain digits" in ended.message) == (2, True)


def test_plain_numbers_and_sources_pass(servecap, folder: Path) -> None:
    write(folder, {"slo/ours.yaml": "defaults: [chat]\nttft_p95_s: 1.5e0\nsource: https://example.org/slo\n"})
    assert servecap("calc", "--config-dir", "shared", "slo=ours").code == 0


def test_ones_own_command_line_may_do_it(servecap, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = servecap("gpu.name='${oc.env:SECRET}'", "workload.limit=5", "hydra.run.dir=run", "hydra.verbose=false")
    assert ended.code == 0
    assert "s3cret" in (folder.parent / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("name", ["missing", "outside.yaml"])
def test_a_folder_that_is_none(servecap, folder: Path, name: str) -> None:
    ended = servecap("--config-dir", name, "workload.limit=5")
    assert (ended.code, name in ended.message) == (2, True)


def test_plain_yaml_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\nb: !ruby/object {}\n")
    with pytest.raises(ConfigError, match=r"a\.yaml, line 2"):
        read_plain_yaml(tmp_path / "a.yaml")
