"""What tasks side by side gain over tasks in turn: in the times that were measured, and modelled with so many workers.

The model is list scheduling: tasks in the order in which they were published, each begun by the first worker that is free,
as workers of one stage take them from Kafka. A worker does one task at a time, and moving data is part of a task's time.
Pure functions.
"""

from collections import Counter
from dataclasses import dataclass
from operator import attrgetter

# What tasks took: the time from start to end, which rests on what else the machine had to do, or the processor's.
TIME = attrgetter("seconds")
PROCESSOR = attrgetter("processor")


@dataclass(frozen=True)
class Task:
    """A task that was done: which step of which round, for which architecture, and when, in seconds; and how many seconds
    of a processor it took."""

    step: str
    round: int
    architecture: str
    queued: float
    started: float
    ended: float
    processor: float = 0.0

    @property
    def seconds(self):
        return self.ended - self.started


def makespan(seconds, workers):
    """Seconds until so many workers have done tasks that take `seconds` each, begun in that order."""
    if workers < 1:
        raise ValueError(f"{workers} workers do nothing")
    free = [0.0] * workers
    for task in seconds:
        first = free.index(min(free))
        free[first] += task
    return max(free)


@dataclass(frozen=True)
class Speedup:
    """Tasks that can go side by side, against tasks in turn."""

    in_turn: float  # seconds of everything in turn, by what tasks took side by side
    seconds: tuple[float, ...]  # of each task that is left, in the order of publication
    wall: float  # seconds from the first start to the last end, as measured

    @property
    def measured(self):
        return self.in_turn / self.wall

    @property
    def ideal(self):
        """With a worker for every task: what the longest one leaves."""
        return self.in_turn / max(self.seconds)

    def with_workers(self, workers):
        return self.in_turn / makespan(self.seconds, workers)


def _of(tasks, in_turn, taken):
    tasks = sorted(tasks, key=lambda task: (task.queued, task.started, task.architecture))
    wall = max(task.ended for task in tasks) - min(task.started for task in tasks)
    return Speedup(in_turn, tuple(taken(task) for task in tasks), wall)


def pretraining(tasks, taken=TIME):
    """Once an architecture and side by side, against once a party and in turn: `tasks` are those of one run of FedMD.

    A party that pretrained for itself would do what its architecture's task does, on the same rows. How many parties an
    architecture has, the tasks of `transfer` say. By processor time nothing is measured side by side.
    """
    pretrain = [task for task in tasks if task.step == "pretrain"]
    parties = Counter(task.architecture for task in tasks if task.step == "transfer")
    if not pretrain or not parties:
        raise ValueError("there are no tasks of the steps pretrain and transfer")
    return _of(pretrain, sum(parties[task.architecture] * taken(task) for task in pretrain), taken)


def distillation(tasks, taken=TIME):
    """Each architecture's prototype side by side, against one after the other, of every round of one run of FedDF."""
    rounds = {}
    for task in tasks:
        if task.step == "distill":
            rounds.setdefault(task.round, []).append(task)
    return [_of(of, sum(map(taken, of)), taken) for _, of in sorted(rounds.items())]
