"""What a run file, or a sweep file, asks for, as far as it tells finished runs from others."""

import tomllib
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """Rounds, without round 0, and seeds."""

    rounds: int
    seeds: tuple[int, ...]

    def finished(self, steps, pipeline):
        """The tasks of each run of a pipeline, by seed, where the runs of all seeds have tasks of all rounds; none
        otherwise, since what is told of some seeds changes with those that are still to come.

        `steps` are rows of the table `steps` of one run name, each with its `round`.
        """
        runs = {seed: [] for seed in self.seeds}
        for step in steps:
            if step["pipeline"] == pipeline and step["seed"] in runs:
                runs[step["seed"]].append(step)
        rounds = set(range(self.rounds + 1))
        whole = all(rounds <= {step["round"] for step in tasks} for tasks in runs.values())
        return runs if whole else {}


def asked(folder, runs):
    """What the file of `runs`, in `folder`, asks for. A grid that varies rounds or seeds has one value of them."""
    read = tomllib.loads((folder / runs.file).read_text())
    if runs.command == "run":
        return Asked(read["rounds"], tuple(read["seeds"]))
    run = tomllib.loads((folder / read["run"]).read_text())
    grid = read["grid"]

    def of(key):
        values = grid.get(key, [read.get(key, run[key])])
        if len(values) != 1:
            raise ValueError(f"the grid of {folder / runs.file} has several {key}: name one point's")
        return values[0]

    return Asked(of("rounds"), tuple(of("seeds")))
