"""What a run took up to a round, from its tasks: rows of the table `steps` as dictionaries, each with its `round`. Pure.

Time, and what is billed by it, depends on what else the machine had to do; processor time hardly does. Methods score
different kinds of models, FedDF three and FedMD one, so that both are told without evaluations too.
"""

# What is counted up to an accuracy, in the order of the table.
MEASURES = (
    "rounds",
    "bytes",
    "gb_seconds",
    "gb_seconds_without_evaluations",
    "cpu_seconds",
    "cpu_seconds_without_evaluations",
    "price",
)

# Whose costs are kept.
PIPELINES = ("fedmd", "feddf", "fedavg", "standalone", "fedmd_standalone")


def spent(tasks, through):
    """The measures of one run's tasks up to the round `through`, that one and round 0 among them.

    Bytes are those that cross between parties and server: none where the results of a round do not say them, as of earlier
    releases.
    """
    done = [task for task in tasks if task["round"] <= through]
    if {task["round"] for task in done} != set(range(through + 1)):
        raise ValueError(f"there are no tasks of some round up to {through}")
    working = [task for task in done if task["stage"] != "evaluate"]
    says = all(task.get("bytes_up") is not None for task in done)
    return {
        "rounds": through,
        "bytes": sum(task["bytes_up"] + task["bytes_down"] for task in done) if says else None,
        "gb_seconds": sum(task["gb_seconds"] for task in done),
        "gb_seconds_without_evaluations": sum(task["gb_seconds"] for task in working),
        "cpu_seconds": sum(task["cpu_seconds"] for task in done),
        "cpu_seconds_without_evaluations": sum(task["cpu_seconds"] for task in working),
        "price": sum(task["price"] for task in done),
    }


def saving(fedmd, feddf):
    """The share of what FedMD took that FedDF saves; nothing where one of them did not get there, or FedMD took nothing, as
    no rounds where it begins above the target."""
    return 1 - feddf / fedmd if fedmd and feddf is not None else None


def savings(by_seed, measure):
    """What FedDF saves of the means over seeds, and of each seed; `by_seed` has what each pipeline spent, or nothing where
    it did not reach the target, by seed and then by pipeline. Of the means nothing where a seed of either is missing."""

    def of(pipeline):
        return [(seed.get(pipeline) or {}).get(measure) for seed in by_seed.values()]

    fedmd, feddf = of("fedmd"), of("feddf")
    each = [saving(*pair) for pair in zip(fedmd, feddf)]
    whole = by_seed and None not in (*fedmd, *feddf)
    return saving(sum(fedmd), sum(feddf)) if whole else None, each


def rows(by_seed, target):
    """A row a seed and measure, of what each pipeline spent up to the target, and what FedDF saves of FedMD's."""
    found = []
    for measure in MEASURES:
        _, saved = savings(by_seed, measure)
        for (seed, spent_by), saves in zip(by_seed.items(), saved):
            took = {pipeline: (spent_by.get(pipeline) or {}).get(measure) for pipeline in PIPELINES}
            found.append({"seed": seed, "target": target, "measure": measure, **took, "feddf_saves": saves})
    return found
