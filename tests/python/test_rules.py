"""What parties' predictions and weights are combined to, and what is distilled from it, against a few lines of PyTorch.

Small runs of FedDF are read where they lie: in the folder of a run, `store` and `parties/<slot>` hold what its tasks
made, each result with the sha256 of its parts.
"""

import json

import numpy as np
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

try:
    import torch
    from torch.nn import functional
except ImportError:
    pytest.skip(
        "rules in PyTorch: python3-torch is not installed; apt-get install python3-torch", allow_module_level=True
    )

from conftest import ROOT
from safetensors.numpy import load_file

TOLERANCE = 1e-5
PARTIES, ROWS, STEPS = 4, 40, 3
RUN = """
name        = "rules"
pipeline    = "feddf"
rounds      = 1
predictions = "float32"

[data]
private   = {{ url = "{examples}/letters.parquet", rows = 60 }}
public    = {{ url = "{examples}/mnist.parquet", rows = 200 }}
test      = {{ url = "{examples}/letters-test.parquet", rows = 20 }}
labels    = "private"
alignment = 40
partition = {{ kind = "log_normal", sigma = 0.5, min = 4 }}

[parties]
count         = 4
architectures = ["mlp[8]", "mlp[12]"]

[steps.train]
epochs = 5
batch  = 10

# Steps on all rows of the alignment set at once: their order changes nothing.
[steps.distill]
steps     = 3
batch     = 40
optimizer = {{ kind = "sgd", lr = 0.5, momentum = 0.9 }}
stop      = false
{settings}
"""
# Of a party's predictions, by slot.
WEIGHTS = [1.0, 0.5, 0.0, 2.3]
# What predictions are combined by, and what weights of an architecture are.
RULES = {
    ("mean", "samples"): "",
    ("mean_probability", "parties"): """
[steps.aggregate]
rule = "mean_probability"

[steps.average]
rule = { weights = "parties" }
""",
    ("weights", "samples"): f"""
[steps.aggregate]
rule = {{ weights = {WEIGHTS} }}
""",
}


class Run:
    """What the first round of a run made, read from its folder."""

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        plan = self.read("1/plan-0.json")
        self.draws = json.loads(self.shared(plan["draws"]["sha256"]).read_text())
        self.alignment = self.draws["alignment"]

    def read(self, path):
        return json.loads((self.folder / "store" / self.name / path).read_text())

    def shared(self, sha256):
        return self.folder / "store" / self.name / "parts" / sha256

    def result(self, step, subject):
        [result] = (self.folder / "store" / self.name / "1" / step).glob(f"{subject}-*")
        return json.loads(result.read_text())

    def weights(self, step, subject):
        """Tensors by name, in float64."""
        part = self.result(step, subject)["parts"]["weights"]
        assert part["place"] == "shared"
        return {name: torch.from_numpy(array).double() for name, array in load_file(self.shared(part["sha256"])).items()}

    def predictions(self, step, subject):
        """Logits of all chunks, rows x classes, in float64."""
        chunks = []
        for name, part in sorted(self.result(step, subject)["parts"].items()):
            place = part["place"]
            own = None if place == "shared" else self.folder / "parties" / str(place["party"]) / self.name / "parts"
            table = ipc.open_stream(own / part["sha256"] if own else self.shared(part["sha256"])).read_all()
            assert name in ("predictions.0", "consensus.0")
            chunks.append(np.array(table["values"].to_pylist()))
        return torch.from_numpy(np.concatenate(chunks))


@pytest.fixture(scope="module", params=RULES, ids="-".join)
def finished(request, run, tmp_path_factory):
    """A finished run, what predictions were combined by, and what weights."""
    out = tmp_path_factory.mktemp("rules")
    text = RUN.format(examples=ROOT / "pipelines/examples/data", settings=RULES[request.param])
    (out / "run.toml").write_text(text)
    run("fedstill", "run", out / "run.toml", "--out", out / "runs")
    return (Run(out / "runs" / "rules-feddf-0"), *request.param)


def images(rows, file="mnist"):
    """Rows of the public set, or of another file, as networks see them."""
    column = pq.read_table(ROOT / f"pipelines/examples/data/{file}.parquet")["image"]
    pixels = np.frombuffer(b"".join(column[row].as_py() for row in rows), np.uint8).reshape(len(rows), -1)
    return torch.from_numpy((pixels / 255.0 - 0.5) / 0.5)


def network(weights, rows):
    """What `mlp` of one hidden layer says of rows."""
    hidden = torch.relu(functional.linear(rows, weights["fc1.weight"], weights["fc1.bias"]))
    return functional.linear(hidden, weights["fc2.weight"], weights["fc2.bias"])


def assert_close(found, expected):
    worst = ((found - expected).abs() - TOLERANCE * (expected.abs() + expected.abs().max())).max().item()
    assert found.shape == expected.shape and torch.isfinite(found).all() and worst <= 0, worst


def test_parties_predict_what_their_weights_say_of_the_alignment_set(finished):
    run, *_ = finished
    assert len(set(run.alignment)) == ROWS
    rows = images(run.alignment)
    for party in range(PARTIES):
        subject = f"party-{party}"
        assert_close(run.predictions("predict", subject), network(run.weights("train", subject), rows))


def test_predictions_are_combined_by_the_rule(finished):
    run, rule, _ = finished
    members = torch.stack([run.predictions("predict", f"party-{party}") for party in range(PARTIES)])
    # A rule that took one of them would be seen.
    assert members.std(dim=0).min() > 1e-4
    consensus = run.predictions("join", "server")
    if rule == "mean":
        assert_close(consensus, members.mean(dim=0))
    elif rule == "weights":
        weights = torch.tensor(WEIGHTS, dtype=torch.float64)
        assert_close(consensus, (weights[:, None, None] * members).sum(dim=0) / weights.sum())
    else:
        expected = members.softmax(dim=2).mean(dim=0)
        assert_close(consensus.softmax(dim=1), expected)
        assert (expected - members.mean(dim=0).softmax(dim=1)).abs().max() > 1e-3


def test_weights_are_averaged_by_the_rule(finished):
    run, _, by = finished
    for architecture in range(2):
        parties = [f"party-{party}" for party in range(PARTIES) if party % 2 == architecture]
        rows = [run.result("train", party)["report"]["rows"] for party in parties]
        assert len(set(rows)) > 1, "parties with equally many rows count alike by either rule"
        counts = rows if by == "samples" else [1] * len(parties)
        weights = [run.weights("train", party) for party in parties]
        averaged = run.weights("average", f"architecture-{architecture}")
        assert averaged.keys() == weights[0].keys()
        for name, found in averaged.items():
            assert_close(found, sum(count * of[name] for count, of in zip(counts, weights)) / sum(counts))


def test_prototypes_are_distilled_from_the_consensus(finished):
    run, *_ = finished
    rows, teacher = images(run.alignment), run.predictions("join", "server").softmax(dim=1)
    for subject in ("architecture-0", "architecture-1"):
        weights = {name: tensor.requires_grad_() for name, tensor in run.weights("average", subject).items()}
        descent = torch.optim.SGD(weights.values(), lr=0.5, momentum=0.9)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(descent, T_max=STEPS)
        for _ in range(STEPS):
            descent.zero_grad()
            student = functional.log_softmax(network(weights, rows), 1)
            functional.kl_div(student, teacher, reduction="batchmean").backward()
            descent.step()
            cosine.step()
        report = run.result("distill", subject)["report"]
        assert report["steps"] == STEPS
        start = run.weights("average", subject)
        for name, found in run.weights("distill", subject).items():
            expected = weights[name].detach()
            assert (expected - start[name]).abs().max() > 1e-3, name
            assert_close(found, expected)


DROPPING = """
name        = "dropping"
pipeline    = "feddf"
rounds      = 1
predictions = "float32"

[data]
private    = {{ url = "{examples}/letters.parquet", rows = {rows} }}
public     = {{ url = "{examples}/mnist.parquet", rows = 200 }}
test       = {{ url = "{examples}/letters-test.parquet", rows = 20 }}
labels     = "private"
alignment  = 40
validation = {{ rows = {validation} }}
partition  = {{ kind = "log_normal", sigma = {sigma}, min = {least} }}

[parties]
count         = {parties}
architectures = ["mlp[{hidden}]"]

[steps.train]
epochs = {epochs}
batch  = 10

[steps.aggregate]
drop_worst = true

[steps.distill]
steps = 3
stop  = false
"""
# Models that hardly learned anything, of which some guess; and better ones, of which one is far behind.
DROPPED = {
    "guessing": {"rows": 400, "validation": 100, "sigma": 1.0, "least": 4, "parties": 8, "hidden": 8, "epochs": 40},
    "outliers": {"rows": 2500, "validation": 200, "sigma": 2.0, "least": 30, "parties": 10, "hidden": 32, "epochs": 20},
}


def worst(accuracies, classes):
    """Whose models are dropped, as the released code of FedDF has it, and by which of its rules."""
    guessing = accuracies < 1.2 / classes
    if guessing.any():
        return set(np.flatnonzero(guessing)), "guessing"
    others = np.delete(accuracies, accuracies.argmax())
    return set(np.flatnonzero(accuracies < others.mean() - 1.5 * others.std())), "outliers"


@pytest.mark.parametrize("rule", DROPPED)
def test_the_worst_on_validation_rows_are_not_in_the_consensus(run, tmp_path, rule):
    settings = DROPPED[rule]
    text = DROPPING.format(examples=ROOT / "pipelines/examples/data", **settings)
    (tmp_path / "run.toml").write_text(text)
    run("fedstill", "run", tmp_path / "run.toml", "--out", tmp_path / "runs")
    finished = Run(tmp_path / "runs" / "dropping-feddf-0")

    rows, parties = finished.draws["validation"], range(settings["parties"])
    labels = pq.read_table(ROOT / "pipelines/examples/data/letters.parquet")["label"].to_numpy()[rows]
    seen = images(rows, "letters")
    said = [network(finished.weights("train", f"party-{party}"), seen).argmax(dim=1).numpy() for party in parties]
    members = torch.stack([finished.predictions("predict", f"party-{party}") for party in parties])
    dropped, by = worst(np.array([(one == labels).mean() for one in said]), members.shape[2])
    assert len(rows) == settings["validation"] and by == rule and 0 < len(dropped) < len(parties)

    kept = [party for party in parties if party not in dropped]
    consensus = finished.predictions("join", "server")
    assert_close(consensus, members[kept].mean(dim=0))
    assert (consensus - members.mean(dim=0)).abs().max() > 1e-3
    consensuses = pq.read_table(tmp_path / "runs/results/consensus").to_pylist()
    [abstained] = {row["abstained"] for row in consensuses if row["round"] == 1}
    assert {int(one.split(":")[0].removeprefix("party-")) for one in abstained.split("; ")} == dropped
