"""Losses, optimizers, schedules, the pull of FedProx, the penalty on the head and clipped gradients, against a few lines of
PyTorch in float64 on random logits.

The learner's example `losses` trains a model whose only parameters are logits: what it makes of them is what a step of any
pipeline does to a network's.
"""

import json

import numpy as np
import pytest

try:
    import torch
    from torch.nn import functional
except ImportError:
    pytest.skip(
        "losses in PyTorch: python3-torch is not installed; apt-get install python3-torch", allow_module_level=True
    )

from conftest import ROOT
from safetensors.numpy import load_file, save_file

TOLERANCE = 1e-5
ROWS, CLASSES = 24, 7
# One step of it leaves the gradient in the momentum.
DESCENT = {"kind": "sgd", "lr": 10.0, "momentum": 0.9}
CROSS_ENTROPY = {"target": "labels", "loss": {"kind": "cross_entropy"}, "weight": 1.0}


def distance(weight=1.0, **loss):
    """A term that compares with logits."""
    return {"target": "logits", "loss": loss, "weight": weight}


def kl(t, times_t2, per, weight=1.0):
    return distance(weight, kind="kl", t=t, times_t2=times_t2, per=per)


LOSSES = {
    "cross entropy": [CROSS_ENTROPY],
    "mae": [distance(kind="mae")],
    "mse": [distance(kind="mse")],
    "cross entropy and half of kl": [CROSS_ENTROPY, kl(2.0, True, "batch", 0.5)],
    **{
        f"kl, t {t}, times t^2 {times_t2}, per {per}": [kl(t, times_t2, per)]
        for t in (0.5, 1.0, 4.0)
        for times_t2 in (False, True)
        for per in ("batch", "element")
    },
}
OPTIMIZERS = {
    "adam": {"kind": "adam", "lr": 0.05},
    "adam of other constants": {"kind": "adam", "lr": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4},
    "adam with decay": {"kind": "adam", "lr": 0.05, "weight_decay": 0.1},
    "sgd": {"kind": "sgd", "lr": 0.5},
    "sgd with momentum": {"kind": "sgd", "lr": 0.5, "momentum": 0.9},
    "sgd with momentum and decay": {"kind": "sgd", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.1},
}


def case(terms, optimizer, steps=1, **fit):
    return {"terms": terms, "fit": {"epochs": 1, "batch": ROWS, "optimizer": optimizer, "stop": None, "steps": steps, **fit}}


CASES = {
    **{f"loss: {name}": case(terms, DESCENT) for name, terms in LOSSES.items()},
    **{f"optimizer: {name}": case([kl(1.0, False, "batch")], optimizer, 7) for name, optimizer in OPTIMIZERS.items()},
    **{
        f"cosine: {name}, {steps} steps": case([distance(kind="mse")], OPTIMIZERS[name], steps, schedule="cosine")
        for name in ("adam", "sgd with momentum")
        for steps in (1, 2, 10)
    },
    **{
        f"proximal: {name}": case([CROSS_ENTROPY], OPTIMIZERS[name], 5, proximal=0.1)
        for name in ("adam", "sgd with momentum and decay")
    },
    **{
        f"clip: {name} at {clip}": case([CROSS_ENTROPY], OPTIMIZERS[name], 5, clip=clip)
        for name in ("adam", "sgd", "sgd with momentum and decay")
        for clip in (0.05, 5.0)
    },
    # The logits are the model's head, and all that it has.
    **{
        f"head_l2: {name}": case([CROSS_ENTROPY], OPTIMIZERS[name], 5, head_l2=0.01)
        for name in ("adam", "sgd", "sgd with momentum and decay")
    },
    "head_l2: the pull too": case([CROSS_ENTROPY], OPTIMIZERS["adam"], 5, head_l2=0.01, proximal=0.1),
    # What is clipped is the gradient of all summands together.
    "clip: the pull too": case([CROSS_ENTROPY], OPTIMIZERS["sgd with momentum"], 5, clip=0.05, proximal=0.2),
    "clip: the penalty too": case([CROSS_ENTROPY], OPTIMIZERS["sgd with momentum"], 5, clip=0.05, head_l2=0.05),
}
# As names of folders.
FOLDERS = {name: f"case-{number}" for number, name in enumerate(CASES)}


def random(name):
    """Logits to start from, logits to compare with, and labels."""
    draw = np.random.default_rng(list(name.encode()))
    start, target = (draw.normal(0.0, 2.0, (ROWS, CLASSES)).astype(np.float32) for _ in range(2))
    return start, target, draw.integers(0, CLASSES, ROWS)


@pytest.fixture(scope="session")
def trained(run, tmp_path_factory):
    """The folder of a case after the example has done all of them."""
    cases = tmp_path_factory.mktemp("losses")
    for name, settings in CASES.items():
        start, target, labels = random(name)
        folder = cases / FOLDERS[name]
        folder.mkdir()
        save_file({"logits": start}, folder / "start.safetensors")
        save_file({"logits": target, "labels": labels}, folder / "target.safetensors")
        (folder / "case.json").write_text(json.dumps(settings))
    run("examples/losses", cases)
    return lambda name: cases / FOLDERS[name]


def value(term, logits, target, labels):
    """What PyTorch says of a term."""
    loss = term["loss"]
    if loss["kind"] == "cross_entropy":
        return functional.cross_entropy(logits, labels)
    if loss["kind"] == "mae":
        return functional.l1_loss(logits, target)
    if loss["kind"] == "mse":
        return functional.mse_loss(logits, target)
    student, teacher = (functional.log_softmax(of / loss["t"], 1) for of in (logits, target))
    divergence = functional.kl_div(student, teacher, reduction="sum", log_target=True)
    scale = loss["t"] ** 2 if loss["times_t2"] else 1.0
    return divergence * scale / {"batch": ROWS, "element": ROWS * CLASSES}[loss["per"]]


def optimizer(settings, logits):
    """PyTorch's, with its defaults for what is not written."""
    rest = {key: settings[key] for key in ("momentum", "weight_decay") if key in settings}
    if settings["kind"] == "sgd":
        return torch.optim.SGD([logits], lr=settings["lr"], **rest)
    betas = (settings.get("beta_1", 0.9), settings.get("beta_2", 0.999))
    return torch.optim.Adam([logits], lr=settings["lr"], betas=betas, eps=settings.get("epsilon", 1e-8), **rest)


def reference(name):
    """Logits, optimizer state and last loss of a case, in float64."""
    start, target, labels = (torch.from_numpy(array) for array in random(name))
    start, target = start.double(), target.double()
    terms, fit = CASES[name]["terms"], CASES[name]["fit"]
    logits = start.clone().requires_grad_()
    steps = optimizer(fit["optimizer"], logits)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(steps, T_max=fit["steps"]) if "schedule" in fit else None
    for _ in range(fit["steps"]):
        steps.zero_grad()
        loss = sum(term["weight"] * value(term, logits, target, labels) for term in terms)
        pull = fit.get("proximal", 0.0) / 2 * (logits - start).square().sum()
        penalty = fit.get("head_l2", 0.0) * logits.square().sum()
        (loss + pull + penalty).backward()
        if "clip" in fit:
            torch.nn.utils.clip_grad_norm_([logits], fit["clip"])
        steps.step()
        if cosine:
            cosine.step()
    return logits.detach(), steps.state[logits], loss.item()


def assert_close(found, expected):
    found, expected = torch.as_tensor(found).double(), expected.reshape(torch.as_tensor(found).shape)
    worst = ((found - expected).abs() - TOLERANCE * (expected.abs() + expected.abs().max())).max().item()
    assert torch.isfinite(found).all() and worst <= 0, worst


@pytest.mark.parametrize("name", CASES)
def test_a_step_does_what_pytorch_does(trained, name):
    logits, state, loss = reference(name)
    weights = load_file(trained(name) / "weights.safetensors")
    assert weights.keys() == {"logits"}
    assert_close(weights["logits"], logits)
    # Nothing would be compared of logits that hardly move.
    assert (logits - torch.from_numpy(random(name)[0])).abs().max() > 1e-3

    found = load_file(trained(name) / "optimizer.safetensors")
    moments = {"adam": {"exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"}}
    settings = CASES[name]["fit"]["optimizer"]
    expected = set() if settings["kind"] == "sgd" and not settings.get("momentum") else moments[settings["kind"]]
    assert found.keys() == {"step"} | {f"logits.{moment}" for moment in expected}
    assert found["step"] == CASES[name]["fit"]["steps"]
    for moment in expected:
        assert_close(found[f"logits.{moment}"], state[moment])

    assert json.loads((trained(name) / "loss.json").read_text()) == pytest.approx(loss, rel=TOLERANCE)


def test_every_loss_and_schedule_of_the_settings_is_compared():
    """A kind that is added to the schemas needs a case here."""
    text = (ROOT / "schemas/src/fit.rs").read_text()

    def variants(enum):
        body = text.split(f"pub enum {enum} {{")[1].split("\n}")[0]
        names = (line.strip().strip(",{ ") for line in body.splitlines() if line.startswith("    ") and line[4].isupper())
        return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_") for name in names}

    terms = [term for settings in CASES.values() for term in settings["terms"]]
    assert variants("Loss") == {term["loss"]["kind"] for term in terms}
    assert variants("Per") == {term["loss"]["per"] for term in terms if "per" in term["loss"]}
    assert variants("Schedule") == {settings["fit"].get("schedule", "constant") for settings in CASES.values()}
    assert variants("Optimizer") == {settings["fit"]["optimizer"]["kind"] for settings in CASES.values()}
