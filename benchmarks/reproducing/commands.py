"""The commands that reproductions call: cargo, and fedstill with its folder of runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


class Failed(Exception):
    """A command did not end well; `code` is what to end with, and the command has said why."""

    def __init__(self, command, code):
        super().__init__(f"{' '.join(map(str, command))} ended with {code}")
        self.code = code


def call(command):
    """Runs a command; what it says goes where this process's goes."""
    print(f"$ {' '.join(map(str, command))}", file=sys.stderr, flush=True)
    code = subprocess.run([str(word) for word in command]).returncode
    if code != 0:
        raise Failed(command, code)


def build(root):
    """The command, built of the source."""
    call(["cargo", "build", "--release", "--workspace", "--bins", "--manifest-path", root / "Cargo.toml"])
    return Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release" / "fedstill"


def cores():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class Fedstill:
    """The command, for run files of a folder."""

    def __init__(self, program, files, out):
        self.program, self.files, self.out = program, files, out

    def do(self, runs):
        """Does what is missing of the runs: nothing where they are finished."""
        options = [option.format(cores=cores()) for option in runs.options]
        call([self.program, runs.command, self.files / runs.file, "--out", self.out, *options])

    def compare(self, runs, options, to):
        """Compares runs, or all runs of a name: the folder `to` then has the table and the pictures."""
        shutil.rmtree(to, ignore_errors=True)
        call([self.program, "compare", *runs, "--out", self.out, "--to", to, "--last", "5", *options])

    def steps(self, run):
        """The tasks of all runs of a name, as rows of the table `steps`, with the run and the round of each."""
        import pyarrow.parquet as parquet

        rows = []
        for file in sorted((self.out / "results" / "steps").glob(f"run={run}-*/round=*/*.parquet")):
            about = {key: value for key, _, value in (part.partition("=") for part in file.parts[-3:-1])}
            # Not of a longer run name that begins alike.
            table = parquet.ParquetFile(file).read().to_pylist()
            own = [row for row in table if about["run"] == f"{run}-{row['pipeline']}-{row['seed']}"]
            rows += [{"run": about["run"], "round": int(about["round"]), **row} for row in own]
        return rows

    def rows_of_parties(self, run):
        """The rows that each party of a FedDF run trained on in its first round, by party: all pipelines of a seed divide
        alike. Empty of a run that is not there or was pruned."""
        # From the store, as no table of the results has rows that were trained on: names and layout are those of
        # schemas/src/names.rs. A result says nothing of its attempt; what closed a phase, closed-<attempt>-<phase>.json, names
        # the results that count.
        made = self.out / run / "store" / run / "1"
        attempts = {}
        for closed in made.glob("closed-*-*.json"):
            attempts.setdefault(int(closed.stem.split("-")[1]), []).append(json.loads(closed.read_text()))
        found = {}
        for closed in attempts[max(attempts)] if attempts else []:
            for party, steps in closed["members"].items():
                for result in (step["result"] for step in steps if step["result"]["step"] == "train"):
                    answer = made / "train" / f"{party}-{result['task']}"
                    found[party] = json.loads(answer.read_text())["report"]["rows"]
        return found
