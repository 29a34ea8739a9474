"""What `fedstill compare` wrote, looked up by step and measure. Rows come in as dictionaries of its Parquet table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A value over seeds."""

    value: float
    deviation: float | None
    low: float
    high: float
    seeds: int


class Figures:
    """The table of one comparison, without what it has of single rounds."""

    def __init__(self, rows):
        self.by_key = {
            (row["pipeline"], row["step"], row["measure"]): Figure(
                row["value"], row["deviation"], row["low"], row["high"], row["seeds"]
            )
            for row in rows
            if row["round"] is None
        }

    def get(self, pipeline, step, measure):
        """Nothing where the comparison has no such figure, as of a target that no seed reached."""
        return self.by_key.get((pipeline, step, measure))

    def seeds(self, pipeline):
        """How many seeds of a pipeline were compared: those that its scores are of."""
        scores = [figure for (of, _, what), figure in self.by_key.items() if of == pipeline and what == "accuracy"]
        return max((figure.seeds for figure in scores), default=0)

    def steps(self, pipeline, measure):
        """The steps of a pipeline that have a measure, in the order of the table."""
        return [step for of, step, what in self.by_key if of == pipeline and what == measure and step]


def read(path):
    """The figures of a file."""
    import pyarrow.parquet as parquet

    return Figures(parquet.read_table(path).to_pylist())
