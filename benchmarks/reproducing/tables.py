"""The tables of the page, as Markdown. Pure: figures in, lines out."""

import math
import statistics
from dataclasses import dataclass

from .costs import savings
from .plan import LOCAL, TO_FEDAVG, TO_FEDMD, TO_FEDMD_ALONE

# Scoring steps of each method, and what models they score.
SCORED = (
    ("feddf", "evaluate", "FedDF, prototypes"),
    ("feddf", "evaluate_ensemble", "FedDF, mean logits of all parties"),
    ("feddf", "evaluate_personal", "FedDF, parties after local training"),
    ("fedavg", "evaluate", "FedAvg, prototypes"),
    ("fedavg", "evaluate_personal", "FedAvg, parties after local training"),
    ("fedmd", "evaluate", "FedMD, parties"),
    ("standalone", "evaluate", "local training alone, as in FedDF and FedAvg"),
    ("fedmd_standalone", "evaluate", "local training alone, as in FedMD"),
)
# The steps whose time is told, and who does them.
PARTIES = ("train", "transfer", "digest", "revisit", "predict")
SERVER = ("pretrain", "aggregate", "join", "average", "distill")
WORKERS = (1, 2, 3, 4, 8)


def share(value, digits=3):
    """Accuracies: .976."""
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text


def signed(value, digits=3):
    """Differences: +.024; of what rounds to nothing no sign says which side it is on."""
    text = share(abs(value), digits)
    return text if float(text) == 0 else ("+" if value > 0 else "-") + text


def difference(figure):
    """A mean difference and its spread over seeds, with a digit more where three would show no spread."""
    digits = 3
    if figure is not None and figure.deviation is not None and float(share(figure.deviation, digits)) == 0:
        digits = 4
    return spread(figure, lambda value: signed(value, digits), lambda value: share(value, digits))


def amount(value):
    """Three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def mebibytes(value):
    return amount(value / 2**20)


# What is counted up to an accuracy: the measure, what it is called, how it is shown.
COSTS = (
    ("rounds", "rounds", amount),
    ("bytes", "MiB that cross", mebibytes),
    ("gb_seconds", "GB-seconds", amount),
    ("gb_seconds_without_evaluations", "GB-seconds without evaluations", amount),
    ("cpu_seconds", "processor seconds", amount),
    ("cpu_seconds_without_evaluations", "processor seconds without evaluations", amount),
    ("price", "price, USD", amount),
)


# What stands beside FedMD and FedDF in the table of costs, since it may get as far for less.
BESIDE = (
    ("fedavg", "FedAvg"),
    ("standalone", "local training, FedDF's"),
    ("fedmd_standalone", "local training, FedMD's"),
)


def percent(value, digits):
    return f"{100 * value:.{digits}f} %"


def spread(figure, shown, deviation=None):
    """A mean and its standard deviation over seeds; a dash where there is no figure."""
    if figure is None:
        return "–"
    if figure.deviation is None:
        return shown(figure.value)
    return f"{shown(figure.value)} ± {(deviation or shown)(figure.deviation)}"


def table(headers, rows, numbers):
    """A table whose last `numbers` columns are of numbers."""
    ruler = ["---"] * (len(headers) - numbers) + ["---:"] * numbers
    lines = [headers, ruler, *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def methods(points, figures):
    """A table of each point: accuracies of all methods, each beside its own local training, FedMD and FedAvg; `figures` has
    those of each stem."""
    lines = []
    for about, point in points:
        alone, fedmd_alone = figures[point], figures[point + TO_FEDMD_ALONE]
        fedmd, fedavg, local = (figures[point + of] for of in (TO_FEDMD, TO_FEDAVG, LOCAL))
        rows = []
        for pipeline, step, label in SCORED:
            own = (pipeline, step)
            if alone.get(*own, "accuracy") is None:
                continue
            beside = (fedmd_alone if "fedmd" in pipeline else alone, fedmd, fedavg)
            rows.append(
                [
                    label,
                    spread(alone.get(*own, "accuracy"), share),
                    *(difference(of.get(*own, "difference")) for of in beside),
                    worst(alone, own),
                    spread(local.get(*own, "accuracy"), share),
                    worst(local, own),
                ]
            )
        headers = [about, "global test set", "minus its local training", "minus FedMD", "minus FedAvg", "worst"]
        headers += ["local test sets", "worst of these"]
        lines += ["", *table(headers, rows, 7)]
    return lines[1:]


def sizes(by_seed):
    """The rows of parties, in a line; `by_seed` has those of each seed's parties. Nothing where a seed's are not known."""
    if not by_seed or not all(by_seed):
        return []
    rows = [rows for seed in by_seed for rows in seed]
    seeds = f"{len(by_seed)} seeds" if len(by_seed) > 1 else "one seed"
    return [f"Rows of a party, over {seeds}: {min(rows):,} at fewest, {max(rows):,} at most, {mean(rows):,.0f} on average."]


def worst(figures, own):
    """The lowest of the models that a step scores, and whose it is; a dash of an ensemble, which is one model."""
    for measure, whose in (("worst_party", "party"), ("worst_architecture", "architecture")):
        found = figures.get(*own, measure)
        if found is not None:
            return f"{spread(found, share)} ({whose})"
    return "–"


def times_by_step(points, figures):
    """The share of each step in the busy time of FedMD and FedDF, without evaluations."""
    rows = []
    for about, point in points:
        for pipeline, label in (("fedmd", "FedMD"), ("feddf", "FedDF")):
            busy = {step: figures[point].get(pipeline, step, "busy_seconds") for step in (*PARTIES, *SERVER)}
            busy = {step: figure.value for step, figure in busy.items() if figure}
            whole = sum(busy.values())
            if not whole:
                continue
            parties = sum(seconds for step, seconds in busy.items() if step in PARTIES)
            longest_first = sorted(busy.items(), key=lambda of: -of[1])
            shown = ", ".join(f"{step} {percent(seconds / whole, 0)}" for step, seconds in longest_first)
            rows.append([about, label, shown, percent(parties / whole, 0), amount(whole)])
    return table(["", "method", "share of the time by step, without evaluations", "parties", "seconds a run"], rows, 2)


def rounds(points, figures, target, paper):
    """Rounds to a target."""
    rows = []
    for _, point in points:
        found = figures[point].get("fedavg", "evaluate", "rounds_to_target")
        ends = ["–", "–"] if found is None else [f"{found.low:.0f}", f"{found.high:.0f}"]
        late = figures[point].get("fedavg", "evaluate", "accuracy")
        reached = f"{found.seeds if found else 0} of {late.seeds if late else 0}"
        rows.append([target, reached, spread(found, "{:.0f}".format, "{:.1f}".format), *ends, paper, spread(late, share)])
    headers = ["target", "seeds that reach it", "rounds", "fewest", "most", "paper", "mean of the last five rounds"]
    return table(headers, rows, 6)


def windows(expected, figures):
    """What was expected beside what came out."""
    rows = []
    for window in expected:
        of = figures[window.stem]
        found = of.get(window.pipeline, window.step, window.measure)
        shown = {"difference": signed, "accuracy": share}.get(window.measure, amount)
        told = difference(found) if shown is signed else spread(found, shown)
        said = verdict(window, found, of.seeds(window.pipeline))
        rows.append([window.about, ends(window, shown), told, said])
    return table(["figure", "expected", "found", ""], rows, 0)


def ends(window, shown):
    """A window in words."""
    if window.high is None:
        return f"{shown(window.low)} or more"
    if window.low is None:
        return f"{shown(window.high)} or less"
    if window.low == window.high:
        return shown(window.low)
    return f"{shown(window.low)} to {shown(window.high)}"


def times(values):
    """Speed-ups."""
    return over(values, "{:.2f}".format, " x")


def mean(values):
    return sum(values) / len(values)


def verdict(window, found, seeds):
    """Whether a figure is in its window, its mean and every seed: of all `seeds` of the runs, since what some of them did
    not reach is not met."""
    if found is None:
        return "not reached"
    low = -math.inf if window.low is None else window.low
    high = math.inf if window.high is None else window.high
    if found.value < low:
        said = "below"
    elif found.value > high:
        said = "above"
    elif found.low < low or found.high > high:
        said = "on average, not every seed"
    else:
        said = "as expected"
    if found.seeds >= seeds:
        return said
    of = f"{found.seeds} of {seeds} seeds"
    return f"not met: {of}" if said == "as expected" else f"{said}, {of}"


@dataclass(frozen=True)
class Gain:
    """Speed-ups of one kind: what about, the paper's, of how many runs, by the time that tasks took and by the processor's,
    and whether the runs had all processors."""

    about: str
    paper: str
    runs: int
    by_time: list
    by_processor: list
    alone: bool


def speedups(gains):
    """What was measured, and below it what so many workers would make of it: by the time that tasks took, and by the
    processor's, on which other work on the machine has little effect.

    Means, and standard deviations, over the seeds and rounds that were measured.
    """
    measured, modelled = [], []
    for gain in gains:
        # Of pretraining there is one a run.
        of = gain.runs if len(gain.by_time) == gain.runs else f"{gain.runs}, {len(gain.by_time)} rounds"
        in_turn = [over([one.in_turn for one in by], amount) for by in (gain.by_time, gain.by_processor)]
        found = times([one.measured for one in gain.by_time]) if gain.alone else "–"
        measured.append([gain.about, str(of), gain.paper, *in_turn, found])
        for what, by in (("time", gain.by_time), ("processor time", gain.by_processor)):
            workers = [times([one.with_workers(workers) for one in by]) for workers in WORKERS]
            modelled.append([gain.about, what, *workers, times([one.ideal for one in by])])
    counts = [f"{workers} worker{'s' if workers > 1 else ''}" for workers in WORKERS]
    first = ["", "runs", "paper", "seconds in turn", "processor seconds in turn", "measured"]
    second = ["modelled", "by", *counts, "a worker a task"]
    return [*table(first, measured, 5), "", *table(second, modelled, len(second) - 2)]


def costs(about, target, by_seed):
    """What FedMD and FedDF took to the same accuracy, and what FedDF saves: of the means, and seed by seed; then what FedAvg
    and local training took to it, where they reach it.

    `by_seed` has by seed, and then by pipeline, what was spent up to there; nothing where a seed does not get there.
    """
    reaching = [reached(by_seed, pipeline) for pipeline in ("fedmd", "feddf")]
    reaching += ["–", "–", *(reached(by_seed, pipeline) for pipeline, _ in BESIDE)]
    rows = [["seeds that reach it", *reaching]]
    for measure, what, shown in COSTS:
        fedmd, feddf = (took(by_seed, pipeline, measure, shown) for pipeline in ("fedmd", "feddf"))
        of_means, each = savings(by_seed, measure)
        saved = [over([100 * one for one in of if one is not None], "{:z.1f}".format, " %") for of in ([of_means], each)]
        beside = [took(by_seed, pipeline, measure, shown) for pipeline, _ in BESIDE]
        rows.append([what, fedmd, feddf, *saved, *beside])
    headers = [f"{about}, up to {share(target)}", "FedMD", "FedDF", "FedDF saves", "saves, by seed"]
    headers += [label for _, label in BESIDE]
    return table(headers, rows, len(headers) - 1)


def reached(by_seed, pipeline):
    """How many seeds of a pipeline reach the target."""
    runs = [seed[pipeline] for seed in by_seed.values() if pipeline in seed]
    return f"{len(runs) - runs.count(None)} of {len(runs)}" if runs else "–"


def took(by_seed, pipeline, measure, shown):
    """What a pipeline took to the target, over all seeds: a dash where one does not reach it, since a mean of the others is
    of other seeds than what it stands beside."""
    values = [(seed.get(pipeline) or {}).get(measure) for seed in by_seed.values()]
    return "–" if None in values else over(values, shown)


def over(values, number, unit=""):
    """A mean, the standard deviation of the sample, and their unit; a dash where there is none."""
    if not values:
        return "–"
    deviation = f" ± {number(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{number(mean(values))}{deviation}{unit}"


def equal_accuracy(figures):
    """The accuracy to which costs are compared: what the lowest seed of either method ends at, rounded down to hundredths.

    Every seed of both reaches it, so that the same seeds are compared.
    """
    ends = [figures.get(pipeline, "evaluate", "accuracy") for pipeline in ("fedmd", "feddf")]
    if None in ends:
        raise ValueError("there are no results of both FedMD and FedDF")
    # A hundred times .29 is a little less than 29.
    return max(math.floor(100 * min(figure.low for figure in ends) + 1e-9), 1) / 100
