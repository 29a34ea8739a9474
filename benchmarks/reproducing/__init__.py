"""What `benchmarks/reproduce` does: runs, comparisons, and the tables of docs/reproductions.md.

plan, runfiles, data (links, prepared files) -> commands (fedstill run, sweep, compare) -> results as Parquet -> figures
-> tables -> page; what tasks took -> costs (up to a target), schedule (speed-ups) -> tables. `report` puts them together.
"""
