"""`benchmarks/reproduce`: speed-ups of tasks side by side, by hand, and of which runs they are told."""

import sys

import pyarrow.parquet as pq
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from reproducing import plan, report, runfiles, schedule  # noqa: E402


def test_a_worker_takes_the_next_task_when_it_is_free():
    tasks = [3.0, 1.0, 2.0, 2.0]
    # By hand. Two workers: 3 and 1, then 2 behind 1 (until 3), then 2 behind either (until 5).
    assert [schedule.makespan(tasks, workers) for workers in (1, 2, 3, 4, 8)] == [8.0, 5.0, 3.0, 3.0, 3.0]
    assert schedule.makespan([], 2) == 0.0
    with pytest.raises(ValueError, match="0 workers"):
        schedule.makespan(tasks, 0)


def test_the_order_of_publication_counts_and_not_the_length():
    assert schedule.makespan([1.0, 1.0, 4.0], 2) == 5.0
    assert schedule.makespan([4.0, 1.0, 1.0], 2) == 4.0


def task(step, architecture, started, ended, round=0, queued=0.0, processor=0.0):
    return schedule.Task(step, round, architecture, queued, started, ended, processor)


def test_pretraining_in_turn_is_once_a_party():
    transfers = [task("transfer", of, 10.0, 11.0) for of in "aaab"]
    tasks = [task("pretrain", "a", 0.0, 2.0), task("pretrain", "b", 0.5, 4.5), *transfers]
    speedup = schedule.pretraining(tasks)
    # Three parties of 2 seconds, one of 4: 10; from 0 to 4.5 side by side.
    assert speedup.in_turn == 10.0
    assert speedup.measured == pytest.approx(10 / 4.5)
    assert speedup.ideal == 10 / 4
    assert [speedup.with_workers(workers) for workers in (1, 2)] == [10 / 6, 10 / 4]
    with pytest.raises(ValueError, match="pretrain and transfer"):
        schedule.pretraining(transfers)


def test_distillation_is_compared_round_by_round():
    tasks = [
        task("distill", "a", 0, 2, round=1),
        task("distill", "b", 0, 4, round=1),
        task("train", "a", 0, 9, round=1),
        task("distill", "a", 10, 13, round=2),
        task("distill", "b", 13, 14, round=2),
    ]
    first, second = schedule.distillation(tasks)
    assert (first.in_turn, first.measured, first.ideal) == (6.0, 1.5, 1.5)
    assert (second.in_turn, second.measured, second.ideal) == (4.0, 1.0, pytest.approx(4 / 3))


def test_speed_ups_are_modelled_by_processor_time_too():
    transfers = [task("transfer", of, 10.0, 11.0) for of in "aaab"]
    tasks = [task("pretrain", "a", 0.0, 8.0, processor=2.0), task("pretrain", "b", 0.5, 4.5, processor=3.0), *transfers]
    speedup = schedule.pretraining(tasks, schedule.PROCESSOR)
    # Three parties of 2 seconds, one of 3.
    assert (speedup.in_turn, speedup.ideal) == (9.0, 3.0)
    assert [speedup.with_workers(workers) for workers in (1, 2)] == [9 / 5, 9 / 3]
    tasks = [task("distill", of, 0, 9, processor=processor) for of, processor in (("a", 1.0), ("b", 3.0))]
    [speedup] = schedule.distillation(tasks, schedule.PROCESSOR)
    assert (speedup.in_turn, speedup.ideal) == (4.0, 4 / 3)


def tasks_of(run, pipeline, seed, rounds):
    """Rows of `steps` of a run: a second a task, a half of which the processor takes."""
    done = [(0, "pretrain"), (0, "transfer")] + [(round, "distill") for round in range(1, rounds + 1)]
    about = {"run": f"{run}-{pipeline}-{seed}", "pipeline": pipeline, "seed": seed, "architecture": "a", "subject": "server"}
    when = {"queued_ms": 0, "started_ms": 0, "ended_ms": 1000, "cpu_seconds": 0.5}
    return [{**about, "round": round, "step": step, **when} for round, step in done]


def test_runs_are_told_where_all_seeds_are_finished():
    asked = runfiles.Asked(2, (0, 1))

    def finished(*rounds):
        steps = [step for seed, so_far in enumerate(rounds) for step in tasks_of("a", "feddf", seed, so_far)]
        return asked.finished([*steps, *tasks_of("a", "fedmd", 0, 2)], "feddf")

    assert {seed: len(tasks) for seed, tasks in finished(2, 2).items()} == {0: 4, 1: 4}
    assert finished(2, 1) == finished(2) == finished() == {}
    # A seed that the file does not name, as of an earlier one, is not of the result.
    assert finished(2, 2, 2).keys() == {0, 1}


def test_speed_ups_leave_out_runs_that_are_on_their_way_and_say_how_many_there_are(tmp_path):
    """CIFAR at alpha 100 lacks a round of a seed of FedDF: its FedMD is told, of all seeds, and its FedDF is not."""

    class Ran:
        files = ROOT / "benchmarks/reproductions"

        def steps(self, run):
            if run.startswith("mnist-baselines"):
                whole = [tasks_of(run, pipeline, seed, 2) for pipeline in ("fedmd", "feddf") for seed in range(3)]
            elif run == "cifar-alpha100":
                whole = [tasks_of(run, "fedmd", seed, 10) for seed in range(3)]
                whole += [tasks_of(run, "feddf", seed, 10 if seed < 2 else 9) for seed in range(3)]
            elif run == "mnist-alpha100":
                whole = [tasks_of(run, "fedmd", 0, 10)]
            else:
                whole = []
            return [step for steps in whole for step in steps]

    places = report.Places(tmp_path / "page.md", tmp_path, tmp_path)
    lines = report.speedup(plan.reproductions()["speedup"], Ran(), places)
    measured, modelled = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert [line.split(" | ")[:3] for line in measured[2:]] == [
        ["| pretraining, MNIST, on all processors", "3", "3.5 x"],
        ["| distillation, MNIST, on all processors", "3, 6 rounds", "1.76 x"],
        ["| pretraining, CIFAR, alpha 100", "3", "3.5 x"],
    ]
    # Processor seconds beside seconds; measured only where runs had all processors.
    assert measured[2].endswith("| 1 ± 0 | 0.5 ± 0 | 1.00 ± 0.00 x |") and measured[4].endswith("| 0.5 ± 0 | – |")
    assert [line.split(" | ")[1] for line in modelled[2:]] == ["time", "processor time"] * 3
    kept = pq.read_table(tmp_path / "speedup.parquet").to_pylist()
    expected = {f"mnist-baselines-fedmd-rounds2-{of}-{seed}" for of in ("fedmd", "feddf") for seed in range(3)}
    assert {step["run"] for step in kept} == expected | {f"cifar-alpha100-fedmd-{seed}" for seed in range(3)}
