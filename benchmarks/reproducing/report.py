"""One reproduction after the other: runs, comparisons, files of results, and the table on the page."""

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import costs, figures, page, runfiles, schedule, tables
from .commands import cores

# What the paper (arXiv:2402.07295) and McMahan et al. report.
PAPER = {"pretraining": "3.5 x", "distillation": "1.76 x", "rounds": "87"}


@dataclass(frozen=True)
class Places:
    """Where results go."""

    page: Path
    results: Path
    pictures: Path


def reproduce(reproduction, fedstill, places):
    """Does what is missing of a reproduction, and writes its table."""
    for runs in reproduction.runs:
        fedstill.do(runs)
    places.results.mkdir(parents=True, exist_ok=True)
    tables_of = speedup if reproduction.name == "speedup" else compared
    lines = tables_of(reproduction, fedstill, places)
    if reproduction.costs or reproduction.name in ("shakespeare", "speedup"):
        lines += ["", machine()]
    text = places.page.read_text()
    places.page.write_text(page.fill(text, reproduction.name, lines))
    print(f"{reproduction.name}: {places.page}")


def machine():
    """Where the tables were written, below those that show times: runs that were there before may be of another machine."""
    cpuinfo = Path("/proc/cpuinfo")
    named = [line for line in (cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []) if "model name" in line]
    name = named[0].partition(":")[2].strip() if named else platform.machine()
    return f"Tables written on {cores()} processors ({name})."


def compare(fedstill, places, stem, runs, options):
    """The figures of a comparison, which are kept as Parquet."""
    folder = fedstill.out / "compared" / stem
    fedstill.compare(runs, options, folder)
    kept = places.results / f"{stem}.parquet"
    shutil.copy(folder / "compare.parquet", kept)
    return figures.read(kept)


def compared(reproduction, fedstill, places):
    """Methods at each point, or rounds to a target, with what was expected."""
    found = {}
    for comparison in reproduction.comparisons:
        found[comparison.stem] = compare(fedstill, places, comparison.stem, [comparison.run], comparison.options)
    pictures = ["accuracy"]
    if reproduction.name == "fedavg":
        [comparison] = reproduction.comparisons
        target = comparison.options[comparison.options.index("--target") + 1]
        lines = tables.rounds(reproduction.points, found, target, PAPER["rounds"])
    else:
        lines = tables.methods(reproduction.points, found)
        lines += parties(reproduction, fedstill)
        pictures.append("cost")
    if reproduction.windows:
        lines += ["", *tables.windows(reproduction.windows, found)]
    if reproduction.costs:
        lines += ["", *cost(reproduction, fedstill, places)]
    if reproduction.name == "shakespeare":
        lines += ["", *tables.times_by_step(reproduction.points, found)]
    for about, run in reproduction.points:
        for picture in pictures:
            drawn = places.pictures / f"{run}-{picture}.svg"
            drawn.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(fedstill.out / "compared" / run / f"{picture}.svg", drawn)
            lines += ["", f"![{about}: {picture}]({drawn.relative_to(places.page.parent)})"]
    return lines


def parties(reproduction, fedstill):
    """A line of how many rows parties have, of each point."""
    lines = []
    for (_, run), runs in zip(reproduction.points, reproduction.runs):
        seeds = runfiles.asked(fedstill.files, runs).seeds
        line = tables.sizes([list(fedstill.rows_of_parties(f"{run}-feddf-{seed}").values()) for seed in seeds])
        lines += ["", *line] if line else []
    return lines


def speedup(reproduction, fedstill, places):
    """Speed-ups of the runs that had all processors, and those modelled of any others that are finished."""
    [(of_all_processors, _)], [alone] = reproduction.points, reproduction.runs
    rows, kept = [], []
    for about, runs in ((of_all_processors, alone), *reproduction.timed):
        [run] = runs.names
        asked = runfiles.asked(fedstill.files, runs)
        steps = fedstill.steps(run)
        for pipeline, what in (("fedmd", "pretraining"), ("feddf", "distillation")):
            finished = asked.finished(steps, pipeline)
            # Another reproduction may be on its way.
            if finished:
                rows.append(gained(f"{what}, {about}", what, finished.values(), runs == alone))
                shown = [step for tasks in finished.values() for step in tasks]
                kept += [{"name": run, **step} for step in shown if step["step"] in ("pretrain", "transfer", "distill")]
    write_steps(kept, places.results / "speedup.parquet")
    return tables.speedups(rows)


def gained(about, what, runs, alone):
    """The speed-ups of `runs`, each the rows of its tasks: one of pretraining a run, of distillation one a round."""
    runs = [[task(step) for step in steps] for steps in runs]

    def by(taken):
        if what == "pretraining":
            return [schedule.pretraining(tasks, taken) for tasks in runs]
        return [one for tasks in runs for one in schedule.distillation(tasks, taken)]

    return tables.Gain(about, PAPER[what], len(runs), by(schedule.TIME), by(schedule.PROCESSOR), alone)


def task(step):
    """A row of the table `steps`."""
    queued, started, ended = (step[when] / 1000 for when in ("queued_ms", "started_ms", "ended_ms"))
    return schedule.Task(step["step"], step["round"], step["architecture"], queued, started, ended, step["cpu_seconds"])


def write_steps(steps, path):
    """The times that speed-ups are of."""
    import pyarrow
    import pyarrow.parquet as parquet

    columns = ("name", "run", "round", "step", "subject", "architecture")
    columns += ("queued_ms", "started_ms", "ended_ms", "cpu_seconds")
    table = pyarrow.Table.from_pylist([{column: step[column] for column in columns} for step in steps])
    parquet.write_table(table.replace_schema_metadata({"processors": str(cores())}), path, compression="zstd")


def cost(reproduction, fedstill, places):
    """FedMD and FedDF up to the accuracy that both end at."""
    lines = []
    for about, run in reproduction.points:
        options = ("--test-set", "global")
        target = tables.equal_accuracy(compare(fedstill, places, f"{run}-cost", [run], options))
        options = (*options, "--target", str(target))
        compare(fedstill, places, f"{run}-cost", [run], options)
        steps = fedstill.steps(run)
        seeds = sorted({step["seed"] for step in steps})
        by_seed = {seed: alone(fedstill, run, [step for step in steps if step["seed"] == seed], options) for seed in seeds}
        write_costs(costs.rows(by_seed, target), places.results / f"{run}-cost-by-seed.parquet")
        lines += tables.costs(about, target, by_seed)
    return lines


def write_costs(rows, path):
    """What each seed took up to the target; null of a pipeline that does not reach it, or whose results do not say."""
    import pyarrow
    import pyarrow.parquet as parquet

    kinds = {"seed": pyarrow.uint64(), "target": pyarrow.float64(), "measure": pyarrow.string()}
    kinds.update({column: pyarrow.float64() for column in (*costs.PIPELINES, "feddf_saves")})
    parquet.write_table(pyarrow.Table.from_pylist(rows, pyarrow.schema(kinds.items())), path, compression="zstd")


def alone(fedstill, run, steps, options):
    """What each pipeline of one seed spent up to the target, of the tasks `steps` of that seed; nothing where it does not
    reach it."""
    runs = {}
    for step in steps:
        runs.setdefault((step["pipeline"], step["run"]), []).append(step)
    folder = fedstill.out / "compared" / f"{run}-cost-{steps[0]['seed']}"
    fedstill.compare([run for _, run in runs], options, folder)
    found = figures.read(folder / "compare.parquet")
    spent = {}
    for (pipeline, _), tasks in runs.items():
        first = found.get(pipeline, "evaluate", "rounds_to_target")
        spent[pipeline] = first and costs.spent(tasks, int(first.value))
    return spent
