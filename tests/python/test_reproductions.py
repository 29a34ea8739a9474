"""`benchmarks/reproduce`: its run files, what it reads of runs, and all of it in small on the data in the repository."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib

import pyarrow.parquet as pq
import pytest
from conftest import BUILT, ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from reproducing import costs, page, plan, runfiles  # noqa: E402
from reproducing.commands import Fedstill  # noqa: E402

FILES = ROOT / "benchmarks/reproductions"
PLANS = {FILES: plan.reproductions(), FILES / "quick": plan.quick()}
ALL_RUNS = [(folder, runs) for folder, named in PLANS.items() for one in named.values() for runs in one.runs]
ALL_RUNS = list(dict.fromkeys(ALL_RUNS))


def settings(folder, runs):
    """The run file of runs, and the grid that it is run at."""
    read = tomllib.loads((folder / runs.file).read_text())
    if runs.command == "run":
        return read, {}
    return tomllib.loads((folder / read["run"]).read_text()), read["grid"]


# --- Run files ----------------------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_what_the_grid_and_the_sweep_file_say_before_the_run_file():
    every = {(folder.name, runs.file): runfiles.asked(folder, runs) for folder, runs in ALL_RUNS}
    assert every["reproductions", "mnist-skewed.toml"] == runfiles.Asked(10, (0, 1, 2))
    assert every["reproductions", "speedup.toml"] == runfiles.Asked(2, (0, 1, 2))
    assert every["quick", "speedup.toml"] == runfiles.Asked(1, (0,))
    assert every["quick", "fedavg.toml"] == runfiles.Asked(4, (0, 1))


def test_no_rounds_of_several_points_are_taken_for_one_s(tmp_path):
    (tmp_path / "run.toml").write_text("rounds = 2\nseeds = [0]")
    (tmp_path / "sweep.toml").write_text('run = "run.toml"\n[grid]\nrounds = [1, 2]')
    with pytest.raises(ValueError, match="several rounds"):
        runfiles.asked(tmp_path, plan.Runs("sweep", "sweep.toml", ("a",)))


@pytest.mark.parametrize(("folder", "runs"), ALL_RUNS, ids=lambda value: getattr(value, "file", None))
def test_local_training_is_the_same_in_every_pipeline(folder, runs):
    run, grid = settings(folder, runs)
    local = [run["steps"][name] for name in ("train", "transfer", "revisit") if name in run["steps"]]
    assert {"pretrain", "transfer", "revisit", "digest"} <= run["steps"].keys() or run["pipeline"] == "fedavg"
    # No early stopping: `train` and `revisit` have none where the file does not say so.
    local = [{**step, "stop": step.get("stop", False)} for step in local]
    assert all(step == local[0] for step in local) and local[0]["stop"] is False
    assert not any(key.startswith("steps") for key in grid)


@pytest.mark.parametrize(("folder", "runs"), ALL_RUNS, ids=lambda value: getattr(value, "file", None))
def test_runs_are_named_as_the_files_name_them(folder, runs):
    run, grid = settings(folder, runs)

    def word(value):
        return "-".join(value) if isinstance(value, list) else str(value).replace(".", "p")

    def named(key, value):
        label = key.rpartition(".")[2]
        return f"{label}-{word(value)}" if isinstance(value, list) else f"{label}{word(value)}"

    points = itertools.product(*([named(key, value) for value in grid[key]] for key in sorted(grid)))
    assert runs.names == tuple("-".join([run["name"], *point]) for point in points)


@pytest.mark.parametrize(("folder", "runs"), ALL_RUNS, ids=lambda value: getattr(value, "file", None))
def test_nothing_but_the_data_is_missing_of_a_run_file(folder, runs, tmp_path):
    at = tmp_path / "a/b/c"
    shutil.copytree(folder, at, ignore=shutil.ignore_patterns("data", "results", "quick"))
    command = ["check", at / runs.file] if runs.command == "run" else ["sweep", at / runs.file, "--dry-run"]
    done = subprocess.run([BUILT / "fedstill", *command], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert done.returncode == 2 and errors, done.stderr
    assert all("cannot open" in error for error in errors), done.stderr


# --- Runs -------------------------------------------------------------------------------------------------------------


def closed(folder, attempt, phase, tasks):
    """What closed a phase: its members, each with the step and the task of its result."""
    members = {party: [{"result": {"step": step, "task": task}}] for party, step, task in tasks}
    (folder / f"closed-{attempt}-{phase}.json").write_text(json.dumps({"members": members}))


def test_rows_of_parties_are_those_of_the_last_attempt(tmp_path):
    """Of eleven attempts, whose numbers are no words; results of the others lie beside its own."""
    of_runs = Fedstill("fedstill", tmp_path, tmp_path)
    assert of_runs.rows_of_parties("a-feddf-0") == {}
    round = tmp_path / "a-feddf-0/store/a-feddf-0/1"
    (round / "train").mkdir(parents=True)
    for task, rows in (("party-0-aa", 9), ("party-0-bb", 20), ("party-0-cc", 9), ("party-1-aa", 30), ("party-2-aa", 9)):
        (round / "train" / task).write_text(json.dumps({"report": {"kind": "fit", "rows": rows}}))
    closed(round, 9, 0, [("party-0", "train", "aa"), ("party-2", "train", "aa")])
    closed(round, 2, 0, [("party-0", "train", "cc")])
    closed(round, 10, 0, [("party-0", "train", "bb"), ("party-1", "train", "aa")])
    closed(round, 10, 1, [("server", "join", "dd")])
    assert of_runs.rows_of_parties("a-feddf-0") == {"party-0": 20, "party-1": 30}


# --- All of it ----------------------------------------------------------------------------------------------------------


def reproduce(*arguments):
    command = [sys.executable, ROOT / "benchmarks/reproduce", "--quick", "--fedstill", BUILT / "fedstill", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def costs_are_those_of_compare(tables, run):
    """The kept costs of each seed have the means that `compare` has, of what it knows."""
    kept = pq.read_table(tables / f"{run}-cost-by-seed.parquet").to_pylist()
    assert {(row["seed"], row["measure"]) for row in kept} == set(itertools.product((0, 1), costs.MEASURES))
    compared = pq.read_table(tables / f"{run}-cost.parquet").to_pylist()
    compared = {(row["pipeline"], row["measure"]): row for row in compared if row["measure"].endswith("_to_target")}
    for pipeline, measure in itertools.product(costs.PIPELINES, ("rounds", "bytes", "gb_seconds", "price")):
        took = [row[pipeline] for row in kept if row["measure"] == measure and row[pipeline] is not None]
        of = compared.get((pipeline, f"{measure}_to_target"))
        assert len(took) == (of["seeds"] if of else 0)
        assert not took or sum(took) / len(took) == pytest.approx(of["value"])
    assert all(row["fedmd"] is not None and row["feddf"] is not None for row in kept)
    for row in kept:
        if row["fedmd"]:
            assert row["feddf_saves"] == pytest.approx(1 - row["feddf"] / row["fedmd"])


def test_it_reproduces_in_small_and_goes_on_where_it_was(tmp_path):
    """The commands, the files of results and the page, in seconds."""
    before = (ROOT / "docs/reproductions.md").read_text()
    out = tmp_path / "out"
    reproduce("mnist-skewed", "--out", out)
    first = {file: file.stat().st_mtime_ns for file in (out / "results").rglob("*.parquet")}
    reproduce("--out", out)
    assert first and all(file.stat().st_mtime_ns == written for file, written in first.items())

    filled = (out / "reproductions.md").read_text()
    parts = {name: filled.split(page.begin(name))[1].split(page.END)[0] for name in plan.quick()}
    assert "Not run yet." not in "".join(parts.values())
    assert (ROOT / "docs/reproductions.md").read_text() == before
    for part in (parts["mnist-skewed"], parts["mnist-alike"]):
        for label in ("FedDF, prototypes", "FedDF, mean logits of all parties", "FedAvg, prototypes", "FedMD, parties"):
            assert part.count(f"| {label} |") == 1
        assert "| pretraining tasks of FedMD | 2 | 2 ± 0 | as expected |" in part
        beside = "FedAvg | local training, FedDF's | local training, FedMD's"
        assert part.count(f"| FedMD | FedDF | FedDF saves | saves, by seed | {beside} |") == 1
        assert part.count("| seeds that reach it |") == 1
        # 100 rows are divided among five parties; `balanced` leaves each half a share or more.
        said = r"Rows of a party, over 2 seeds: (\d+) at fewest, (\d+) at most, 20 on average\."
        [(fewest, most)] = re.findall(said, part)
        assert 10 <= int(fewest) <= 20 <= int(most) <= 60
        for what in ("MiB that cross", "GB-seconds without evaluations", "processor seconds", "price, USD"):
            assert part.count(f"| {what} |") == 1
    assert "rounds to 5 %" in parts["fedavg"]
    # A machine is named below times, and nowhere else.
    assert "Tables written on" in parts["speedup"] and "Tables written on" in parts["mnist-skewed"]
    assert "processors" not in parts["fedavg"]
    for what in ("pretraining", "distillation"):
        assert parts["speedup"].count(f"| {what}, ") == 3
        for how in ("1 | ", "time | ", "processor time | "):
            assert parts["speedup"].count(f"| {what}, MNIST, on all processors | {how}") == 1

    for run in ("quick-mnist-alpha0p1", "quick-mnist-alpha100"):
        for stem in (*(comparison.stem for comparison in plan.methods(run)), f"{run}-cost"):
            rows = pq.read_table(out / "tables" / f"{stem}.parquet").to_pylist()
            assert {"feddf", "fedmd", "fedavg", "standalone", "fedmd_standalone"} == {row["pipeline"] for row in rows}
        costs_are_those_of_compare(out / "tables", run)
        assert (out / "pictures" / f"{run}-accuracy.svg").read_text().startswith(("<svg", "<?xml"))
    steps = pq.read_table(out / "tables/speedup.parquet").to_pylist()
    assert {"pretrain", "transfer", "distill"} == {step["step"] for step in steps}
