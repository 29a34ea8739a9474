"""The results of a run, read with DuckDB and pyarrow as anyone would: without options.

FEDSTILL_RUNS names the folder of a finished run (what `fedstill run --out` was given); without it tests/data/tiny.toml
is run first. Either must hold fedmd and its baseline standalone with the same seeds.
"""

import os
import re
import shlex
from pathlib import Path

import boto3
import duckdb
import duckdb_extension_httpfs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from moto.server import ThreadedMotoServer

COLUMNS = {
    "metrics": "pipeline seed step slot architecture test_set accuracy balanced_accuracy loss samples",
    "steps": "pipeline seed attempt step stage subject architecture queued_ms started_ms ended_ms cpu_seconds"
    " bytes_in bytes_out bytes_up bytes_down gb_seconds price",
    "consensus": "pipeline seed chunk members abstentions abstained late entropy agreement",
    "rounds": "pipeline seed attempt duration_seconds parties selected quorum members stragglers refused"
    " bytes_tasks bytes_answers bytes_logits bytes_consensus peak_memory",
}
COLUMNS = {table: set(names.split()) for table, names in COLUMNS.items()}


@pytest.fixture(scope="session")
def results(run, tmp_path_factory):
    """The folder of the tables."""
    if "FEDSTILL_RUNS" in os.environ:
        return Path(os.environ["FEDSTILL_RUNS"]) / "results"
    out = tmp_path_factory.mktemp("runs")
    run("fedstill", "run", "tests/data/tiny.toml", "--out", out)
    return out / "results"


@pytest.fixture
def query(results):
    """Rows of an SQL query in which `{metrics}` and the like stand for a table's files."""

    def rows(sql):
        return duckdb.sql(sql.format(**{table: f"'{results}/{table}/*/*/*.parquet'" for table in COLUMNS})).fetchall()

    return rows


@pytest.mark.parametrize("table", COLUMNS)
def test_duckdb_reads_every_table_with_run_and_round(query, table):
    columns = {name: kind for name, kind, *_ in query(f"describe select * from {{{table}}}")}
    assert COLUMNS[table] | {"run", "round"} <= columns.keys()
    assert columns["run"] == "VARCHAR" and columns["round"] == "BIGINT"
    [[rows]] = query(f"select count(*) from {{{table}}}")
    assert rows > 0


def test_duckdb_reads_results_on_s3_by_the_query_that_the_documentation_shows(results):
    """docs/deploy.md, on an S3 server, with the extension that DuckDB would fetch."""
    [query] = re.findall(r"^select .*?;$", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE | re.DOTALL)
    name = duckdb.sql(f"select min(run) from '{results}/metrics/*/*/*.parquet'").fetchone()[0]
    query = query.replace("my-run-fedmd-0", name)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        s3.create_bucket(Bucket="bucket")
        for file in results.rglob("*.parquet"):
            s3.upload_file(str(file), "bucket", f"fedstill/results/{file.relative_to(results)}")
        [extension] = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
        connection = duckdb.connect()
        connection.load_extension(str(extension))
        connection.sql(
            f"create secret (type s3, key_id 'key', secret 'secret', region 'us-east-1', endpoint '{host}:{port}',"
            " url_style 'path', use_ssl false)"
        )
        found = connection.sql(query).fetchall()
    finally:
        server.stop()
    here = query.replace("s3://bucket/fedstill/results", str(results))
    assert found == duckdb.sql(here).fetchall()
    assert [number for number, *_ in found] == list(range(len(found))) and len(found) > 1


@pytest.fixture(scope="session")
def averaged(run, tmp_path_factory):
    """A run that scores several kinds of models, on several test sets: its folder, and what `fedstill report` says of it."""
    folder = tmp_path_factory.mktemp("averaged")
    data = ROOT / "pipelines/examples/data"
    file = folder / "averaged.toml"
    file.write_text(f"""
name      = "averaged"
pipeline  = "fedavg"
rounds    = 2
baselines = ["standalone"]
[data]
private   = {{ url = "{data}/letters.parquet", rows = 60 }}
test      = {{ url = "{data}/letters-test.parquet" }}
labels    = "private"
partition = {{ kind = "dirichlet", alpha = 0.5, min = 5 }}
[parties]
count         = 4
architectures = ["mlp[8]", "cnn[4]"]
[steps.train]
epochs = 1
batch  = 16
""")
    out = folder / "runs"
    run("fedstill", "run", file, "--out", out)
    return out, run("fedstill", "report", file, "--out", out)


def test_the_queries_that_are_shown_give_the_numbers_that_compare_gives(averaged, run, tmp_path):
    """The one that `run` and `report` print, that of README.md and that of docs/deploy.md: one kind of models, one test set."""
    out, report = averaged
    run("fedstill", "compare", "averaged", "--out", out, "--to", tmp_path)
    shown = {}
    rows = duckdb.sql(
        f"select pipeline, round, measure, value from '{tmp_path}/compare.parquet'"
        " where step = 'evaluate' and starts_with(measure, 'round_')"
    ).fetchall()
    for pipeline, number, measure, value in rows:
        shown.setdefault((pipeline, number), {})[measure.startswith("round_worst")] = value
    shown = {at: pytest.approx((values[False], values[True])) for at, values in shown.items()}
    assert len(shown) == 2 * 3

    [printed] = re.findall(r"^query +(duckdb .*)$", report, re.MULTILINE)
    command, option, query = shlex.split(printed)
    assert (command, option) == ("duckdb", "-c")
    found = {(name.split("-")[1], number): values for name, number, *values in duckdb.sql(query).fetchall()}
    assert {at: tuple(values) for at, values in found.items()} == shown

    [query] = re.findall(r'^duckdb -c "(select .*?)"$', (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert "'runs/results/" in query
    found = duckdb.sql(query.replace("'runs/results/", f"'{out}/results/")).fetchall()
    assert {tuple(row[:2]): tuple(row[2:]) for row in found} == shown

    [query] = re.findall(r"^select .*?;$", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE | re.DOTALL)
    query = query.replace("s3://bucket/fedstill/results", f"{out}/results").replace("my-run-fedmd-0", "averaged-fedavg-0")
    found = {("fedavg", number): tuple(values) for number, *values in duckdb.sql(query).fetchall()}
    assert found == {at: values for at, values in shown.items() if at[0] == "fedavg"}

    # There is more in the table, which they would average in.
    others = f"select distinct step, test_set from '{out}/results/metrics/*/*/*.parquet'"
    assert len(duckdb.sql(others).fetchall()) > 2


def test_the_queries_of_comparisons_that_are_shown_tell_run_names_apart(averaged, run, tmp_path):
    """Those of docs/compare.md, of a table in which two run names have the same pipelines."""
    out, _ = averaged
    run("fedstill", "compare", "averaged", "--out", out, "--to", tmp_path)
    own, both = (f"'{tmp_path}/{name}.parquet'" for name in ["compare", "both"])
    other = f"select * replace ('other' as name) from {own}"
    duckdb.sql(f"copy (select * from {own} union all {other}) to {both} (format parquet)")
    text = (ROOT / "docs/compare.md").read_text()
    queries = re.findall(r'^duckdb -c "(.*?)"$', text, re.MULTILINE | re.DOTALL)
    assert len(queries) == 2
    for query in queries:
        assert "'runs/compare/compare.parquet'" in query
        found = duckdb.connect().execute(query.replace("'runs/compare/compare.parquet'", both))
        assert [column[0] for column in found.description[:3]] == ["name", "pipeline", "step"]
        rows = [row[:3] for row in found.fetchall()]
        assert {name for name, *_ in rows} == {"averaged", "other"}
        assert len(rows) == len(set(rows)) > 4, query


@pytest.mark.parametrize("table", COLUMNS)
def test_pyarrow_reads_the_same_rows(results, query, table):
    read = pq.read_table(results / table)
    [[rows]] = query(f"select count(*) from {{{table}}}")
    assert read.num_rows == rows
    assert COLUMNS[table] | {"run", "round"} <= set(read.column_names)


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_are_scalar_and_not_repeated_in_the_path(results, table):
    files = sorted((results / table).glob("run=*/round=*/*.parquet"))
    assert files and files == sorted((results / table).rglob("*.parquet"))
    for file in files:
        schema = pq.read_schema(file)
        assert not {"run", "round"} & set(schema.names)
        nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        assert not nested, f"{file}: {nested}"


def test_a_run_is_named_by_run_file_pipeline_and_seed(query):
    for run, pipeline, seed in query("select distinct run, pipeline, seed from {metrics}"):
        assert run.endswith(f"-{pipeline}-{seed}")


def test_metrics_have_one_row_a_slot_and_test_set_in_every_round(query):
    assert query("select * from {metrics} qualify count(*) over (partition by run, round, slot, test_set) > 1") == []
    counts = query("select run, round, count(*) from {metrics} group by all")
    assert len({rows for _, _, rows in counts}) == 1
    for run in {run for run, _, _ in counts}:
        rounds = sorted(number for other, number, _ in counts if other == run)
        assert rounds == list(range(len(rounds))) and len(rounds) > 1


def test_metrics_are_in_their_range(query):
    assert query("""
        select * from {metrics}
        where not (accuracy between 0 and 1 and balanced_accuracy between 0 and 1
                   and isfinite(loss) and loss >= 0 and samples > 0)
    """) == []


def test_balanced_test_rows_make_both_accuracies_equal(query):
    """letters-test has equally many rows of each class."""
    assert query("select * from {metrics} where test_set = 'global' and abs(accuracy - balanced_accuracy) > 1e-6") == []


def test_round_0_is_the_same_for_the_baseline_and_later_rounds_are_not(query):
    per_round = """
        select round, bool_and(a.loss = b.loss and a.accuracy = b.accuracy)
        from {metrics} a join {metrics} b using (round, seed, slot, test_set)
        where a.pipeline = 'fedmd' and b.pipeline = 'standalone' group by round order by round
    """
    same = dict(query(per_round))
    assert same.pop(0) is True
    assert same and not any(same.values())


def test_only_collaborating_rounds_have_a_consensus(query):
    [[least]] = query("select min(round) from {consensus}")
    assert least == 1
    assert query("select distinct pipeline from {consensus}") == [("fedmd",)]


def test_nobody_was_missing(query):
    """A local run without a deadline waits for everyone."""
    assert query("select * from {consensus} where not (members > 0 and abstentions = 0 and abstained = '' and late = 0)") == []
    assert query("select * from {rounds} where not (members >= quorum and stragglers = '' and refused = '')") == []


def test_every_party_takes_part_where_nothing_selects(query):
    assert query("select * from {rounds} where not (members <= parties and parties > 0 and selected = '')") == []


def test_tasks_start_after_they_are_queued_and_end_after_they_start(query):
    assert query("select * from {steps} where not (queued_ms <= started_ms and started_ms <= ended_ms)") == []
    assert query("select * from {steps} where not (cpu_seconds >= 0 and gb_seconds >= 0 and price >= 0)") == []


def test_what_crosses_is_what_parties_send_and_fetch(query):
    """FedMD: predictions up, pretrained weights and the consensus down; its baseline: the pretrained weights."""
    crossing = query("""
        select pipeline, step, sum(bytes_up) > 0, sum(bytes_down) > 0 from {steps}
        where pipeline in ('fedmd', 'standalone') and (bytes_up > 0 or bytes_down > 0) group by all order by all
    """)
    assert crossing == [
        ("fedmd", "digest", False, True),
        ("fedmd", "predict", True, False),
        ("fedmd", "transfer", False, True),
        ("standalone", "transfer", False, True),
    ]
    assert query("select * from {steps} where subject not like 'party-%' and (bytes_up > 0 or bytes_down > 0)") == []
    sent, published = "sum(bytes_up) from {steps}", "sum(bytes_logits) from {rounds}"
    assert query(f"select {sent} where stage = 'predict'") == query(f"select {published}")


def test_costs_name_the_provider_whose_prices_they_are_by(results):
    files = list(results.glob("steps/*/*/*.parquet"))
    assert files
    assert {pq.read_metadata(file).metadata[b"fedstill.provider"] for file in files} == {b"aws-lambda"}
