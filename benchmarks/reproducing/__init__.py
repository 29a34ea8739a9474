"""What `benchmarks/reproduce` does: runs, comparisons, and the tables of docs/reproductions.md.

plan, data (links, prepared files), runfiles -> commands (fedstill run, sweep, compare) -> results as Parquet -> figures -> tables ->
page; what tasks took -> costs (up to a target), schedule (speed-ups) -> tables. `report` puts them together.
"""
