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
    kind: str = "compared"  # or "speedup", "cost"


ALPHA = ("0.1", "100")
# What the baseline of a comparison adds to its stem.
TO_FEDMD = "-to-fedmd"
LOCAL = "-local"


def methods(point):
    """The comparisons of a run name: with local training, with FedMD, and on the parties' own distributions."""
    return (
        Comparison(point, point, ("--baseline", "standalone", "--test-set", "global")),
        Comparison(point + TO_FEDMD, point, ("--baseline", "fedmd", "--test-set", "global")),
        Comparison(point + LOCAL, point, ("--baseline", "standalone", "--test-set", "local")),
    )


def heterogeneity(name, run, data, windows):
    """Four methods at two degrees of heterogeneity, of a run file with the run name `run`."""
    points = tuple((f"alpha {alpha}", f"{run}-alpha{alpha.replace('.', 'p')}") for alpha in ALPHA)
    names = tuple(point for _, point in points)
    return Reproduction(
        name=name,
        data=data,
        runs=(Runs("sweep", f"{name}-sweep.toml", names),),
        comparisons=tuple(comparison for point in names for comparison in methods(point)),
        windows=windows(*names),
        points=points,
    )


def mnist_windows(skewed, alike):
    ours = ("feddf", "evaluate")
    return (
        Window("alpha 0.1: prototypes of FedDF minus models of FedMD", skewed + TO_FEDMD, *ours, "difference", low=0.20),
        Window("alpha 0.1: prototypes of FedDF minus local training", skewed, *ours, "difference", low=0.20),
        Window("alpha 100: prototypes of FedDF", alike, *ours, "accuracy", low=0.92),
        Window("alpha 100: models of FedMD", alike, "fedmd", "evaluate", "accuracy", low=0.92),
        Window("pretraining tasks of FedMD", alike, "fedmd", "pretrain", "tasks", low=3, high=3),
    )


def cifar_windows(skewed, _):
    return (Window("pretraining tasks of FedMD", skewed, "fedmd", "pretrain", "tasks", low=3, high=3),)


def quick_windows(skewed, alike):
    return (
        Window("prototypes of FedDF", alike, "feddf", "evaluate", "accuracy", low=0.0, high=1.0),
        Window("pretraining tasks of FedMD", skewed, "fedmd", "pretrain", "tasks", low=2, high=2),
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


def speedup(data, run):
    """Times of tasks, one run at a time on all processors."""
    runs = Runs("sweep", "speedup.toml", (run,), ("--jobs", "1", "--threads", "{cores}"))
    return Reproduction("speedup", data, (runs,), points=(("MNIST, on all processors", run),), kind="speedup")


def cost(of):
    """What two methods took to the same accuracy, of the runs that another reproduction is of."""
    return Reproduction(f"{of.name}-cost", of.data, of.runs, points=of.points, kind="cost")


def reproductions():
    """All of them, by name, in the order of the page."""
    mnist = heterogeneity("mnist", "mnist", ("mnist", "emnist_byclass"), mnist_windows)
    cifar = heterogeneity("cifar", "cifar", ("cifar10", "cifar100"), cifar_windows)
    shakespeare = Reproduction(
        name="shakespeare",
        data=("shakespeare_plays",),
        runs=(Runs("run", "shakespeare.toml", ("shakespeare",)),),
        comparisons=methods("shakespeare"),
        points=(("roles", "shakespeare"),),
    )
    mcmahan = Window("rounds to 97 %", "mcmahan-2nn", "fedavg", "evaluate", "rounds_to_target", low=50, high=140)
    return {
        reproduction.name: reproduction
        for reproduction in (
            mnist,
            cifar,
            shakespeare,
            rounds_to("fedavg", "mcmahan-2nn", ("mnist",), "0.97", (mcmahan,)),
            speedup(mnist.data, "mnist-baselines-fedmd-rounds2"),
            cost(mnist),
            cost(cifar),
        )
    }


def quick():
    """The same in small, on the data in the repository: what shows that the commands work."""
    mnist = heterogeneity("mnist", "quick-mnist", (), quick_windows)
    reached = Window("rounds to 5 %", "quick-2nn", "fedavg", "evaluate", "rounds_to_target", low=0, high=4)
    return {
        reproduction.name: reproduction
        for reproduction in (
            mnist,
            rounds_to("fedavg", "quick-2nn", (), "0.05", (reached,)),
            speedup((), "quick-mnist-baselines-fedmd-rounds1"),
            cost(mnist),
        )
    }
