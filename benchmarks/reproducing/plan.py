"""What is reproduced: run files, comparisons, and what is expected of the figures. Data; nothing is run here.

Windows are estimates from before the first run. A figure outside of its window is reported with the reason; no setting
is moved for it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Runs:
    """A run file, or a sweep file, with the names of the runs that it makes."""

    command: str  # "run" or "sweep"
    file: str
    names: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A call of `fedstill compare`, and what its files are called."""

    stem: str
    run: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """What a figure of a comparison is expected to be: from `low` to `high`, of which one may be missing."""

    about: str
    stem: str
    pipeline: str
    step: str
    measure: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """A table of the page, with all that it needs."""

    name: str
    data: tuple[str, ...]  # folders of FEDSTILL_DATA
    runs: tuple[Runs, ...]
    comparisons: tuple[Comparison, ...] = ()
    windows: tuple[Window, ...] = ()
    points: tuple[tuple[str, str], ...] = ()  # what is said of a run name, and the name
    costs: bool = False  # whether FedMD and FedDF are compared in cost
    timed: tuple[tuple[str, Runs], ...] = ()  # other runs whose tasks' times are told: what is said of them, and which


ALPHA = {"skewed": "0.1", "alike": "100"}
# What the baseline of a comparison adds to its stem.
TO_FEDMD = "-to-fedmd"
TO_FEDMD_ALONE = "-to-fedmd-standalone"
TO_FEDAVG = "-to-fedavg"
LOCAL = "-local"


def methods(point):
    """The comparisons of a run name: with local training, FedDF's and FedMD's, with FedMD, with FedAvg, and on the
    parties' own distributions."""
    return (
        Comparison(point, point, ("--baseline", "standalone", "--test-set", "global")),
        Comparison(point + TO_FEDMD_ALONE, point, ("--baseline", "fedmd_standalone", "--test-set", "global")),
        Comparison(point + TO_FEDMD, point, ("--baseline", "fedmd", "--test-set", "global")),
        Comparison(point + TO_FEDAVG, point, ("--baseline", "fedavg", "--test-set", "global")),
        Comparison(point + LOCAL, point, ("--baseline", "standalone", "--test-set", "local")),
    )


def heterogeneity(name, run, data, windows):
    """Four methods at two degrees of heterogeneity, each a reproduction, of a run file with the run name `run`."""
    for degree, alpha in ALPHA.items():
        point = f"{run}-alpha{alpha.replace('.', 'p')}"
        yield Reproduction(
            name=f"{name}-{degree}",
            data=data,
            runs=(Runs("sweep", f"{name}-{degree}.toml", (point,)),),
            comparisons=methods(point),
            windows=windows[degree](point),
            points=((f"alpha {alpha}", point),),
            costs=True,
        )


FEDDF = ("feddf", "evaluate")
FEDMD = ("fedmd", "evaluate")


def pretraining(tasks):
    """A window of so many pretraining tasks of FedMD."""
    return lambda point: (Window("pretraining tasks of FedMD", point, "fedmd", "pretrain", "tasks", tasks, tasks),)


def mnist_skewed(point):
    return (
        Window("prototypes of FedDF minus models of FedMD", point + TO_FEDMD, *FEDDF, "difference", low=0.20),
        Window("prototypes of FedDF minus local training", point, *FEDDF, "difference", low=0.20),
        *pretraining(3)(point),
    )


def mnist_alike(point):
    return (
        Window("prototypes of FedDF", point, *FEDDF, "accuracy", low=0.92),
        Window("models of FedMD", point, *FEDMD, "accuracy", low=0.92),
        *pretraining(3)(point),
    )


def rounds_to(name, run, data, target, windows):
    """The rounds that a method takes to an accuracy."""
    return Reproduction(
        name=name,
        data=data,
        runs=(Runs("run", f"{name}.toml", (run,)),),
        comparisons=(Comparison(run, run, ("--test-set", "global", "--target", target)),),
        windows=windows,
        points=((f"first round with {target}", run),),
    )


def speedup(data, run, timed=()):
    """Times of tasks, one run at a time on all processors, and of the runs of other reproductions."""
    runs = Runs("sweep", "speedup.toml", (run,), ("--jobs", "1", "--threads", "{cores}"))
    return Reproduction("speedup", data, (runs,), points=(("MNIST, on all processors", run),), timed=timed)


def timed(title, reproductions):
    """Runs of reproductions, each under a title and what is said of its point."""
    return tuple((f"{title}, {one.points[0][0]}", one.runs[0]) for one in reproductions)


def reproductions():
    """All of them, by name, in the order of the page."""
    letters = ("mnist", "emnist_byclass")
    mnist = tuple(heterogeneity("mnist", "mnist", letters, {"skewed": mnist_skewed, "alike": mnist_alike}))
    cifar = tuple(heterogeneity("cifar", "cifar", ("cifar10", "cifar100"), dict.fromkeys(ALPHA, pretraining(3))))
    shakespeare = Reproduction(
        name="shakespeare",
        data=("shakespeare_plays",),
        runs=(Runs("run", "shakespeare.toml", ("shakespeare",)),),
        comparisons=methods("shakespeare"),
        points=(("roles", "shakespeare"),),
    )
    mcmahan = Window("rounds to 97 %", "mcmahan-2nn", "fedavg", "evaluate", "rounds_to_target", low=50, high=140)
    others = (*timed("MNIST", mnist), *timed("CIFAR", cifar), ("Shakespeare", shakespeare.runs[0]))
    return {
        reproduction.name: reproduction
        for reproduction in (
            *mnist,
            *cifar,
            shakespeare,
            rounds_to("fedavg", "mcmahan-2nn", ("mnist",), "0.97", (mcmahan,)),
            speedup(letters, "mnist-baselines-fedmd-rounds2", others),
        )
    }


def quick():
    """The same in small, on the data in the repository: what shows that the commands work."""
    mnist = heterogeneity("mnist", "quick-mnist", (), dict.fromkeys(ALPHA, pretraining(2)))
    reached = Window("rounds to 5 %", "quick-2nn", "fedavg", "evaluate", "rounds_to_target", low=0, high=4)
    return {
        reproduction.name: reproduction
        for reproduction in (
            *mnist,
            rounds_to("fedavg", "quick-2nn", (), "0.05", (reached,)),
            speedup((), "quick-mnist-baselines-fedmd-rounds1"),
        )
    }
