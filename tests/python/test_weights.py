"""Weights written by fedstill load in plain PyTorch models, strictly, and give the same logits and gradients.

The models below are what a PyTorch user would write for these architectures, not a copy of fedstill's code: names,
layouts, strides, paddings, the order in which an image is flattened and that of an LSTM's gates are what is tested.
"""

import re

import pytest

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    pytest.skip(
        "weights in PyTorch: python3-torch is not installed; apt-get install python3-torch", allow_module_level=True
    )

from conftest import ROOT
from safetensors.numpy import load_file

TOLERANCE = 1e-4


class LeNet(nn.Module):
    """LeNet-5 on C x H x W images, with ReLU and max pooling."""

    def __init__(self, shape, classes):
        super().__init__()
        channels, height, width = shape
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2), 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


class Cnn(nn.Module):
    """3x3 convolutions, each with batch norm, ReLU, max pooling and dropout, and a linear head."""

    def __init__(self, shape, classes, sizes):
        super().__init__()
        channels, height, width = shape
        self.blocks = len(sizes)
        for i, size in enumerate(sizes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(channels, size, 3, padding=1))
            setattr(self, f"bn{i}", nn.BatchNorm2d(size))
            channels, height, width = size, height // 2, width // 2
        self.fc = nn.Linear(channels * height * width, classes)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        for i in range(1, self.blocks + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = self.dropout(self.pool(torch.relu(x)))
        return self.fc(x.flatten(1))


class Mlp(nn.Module):
    """Linear layers with ReLU between them, on the flattened image."""

    def __init__(self, shape, classes, sizes):
        super().__init__()
        channels, height, width = shape
        widths = [channels * height * width, *sizes, classes]
        self.layers = len(widths) - 1
        for i in range(1, self.layers + 1):
            setattr(self, f"fc{i}", nn.Linear(widths[i - 1], widths[i]))

    def forward(self, x):
        x = x.flatten(1)
        for i in range(1, self.layers):
            x = torch.relu(getattr(self, f"fc{i}")(x))
        return getattr(self, f"fc{self.layers}")(x)


class TwoNn(Mlp):
    """McMahan's 2NN."""

    def __init__(self, shape, classes):
        super().__init__(shape, classes, [200, 200])


class McMahan(nn.Module):
    """McMahan's CNN."""

    def __init__(self, shape, classes):
        super().__init__()
        channels, height, width = shape
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(64 * (height // 4) * (width // 4), 512)
        self.fc2 = nn.Linear(512, classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class FedMd(nn.Module):
    """Two or three convolutions with batch norm, dropout and mean pooling, and a head without bias."""

    def __init__(self, shape, classes, sizes, dropout):
        super().__init__()
        channels, *_ = shape
        self.conv1 = nn.Conv2d(channels, sizes[0], 3, padding=1)
        self.conv2 = nn.Conv2d(sizes[0], sizes[1], 3 if len(sizes) == 2 else 2, stride=2)
        if len(sizes) == 3:
            self.conv3 = nn.Conv2d(sizes[1], sizes[2], 3, stride=2)
        for i, size in enumerate(sizes, 1):
            setattr(self, f"bn{i}", nn.BatchNorm2d(size))
        self.dropout = nn.Dropout(dropout)
        self.blocks = len(sizes)
        with torch.no_grad():
            self.eval()
            features = self.features(torch.zeros(1, *shape)).shape[1]
            self.train()
        self.fc = nn.Linear(features, classes, bias=False)

    def features(self, x):
        x = self.dropout(torch.relu(self.bn1(self.conv1(x))))
        # TensorFlow's padding "same": means leave out what is outside.
        x = functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        x = self.dropout(torch.relu(self.bn2(self.conv2(x))))
        if self.blocks == 3:
            x = self.dropout(torch.relu(self.bn3(self.conv3(functional.avg_pool2d(x, 2)))))
        return x.flatten(1)

    def forward(self, x):
        return self.fc(self.features(x))


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs, outputs, stride, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = norm(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    """Stages of blocks by torchvision's names, with a stem for small images."""

    def __init__(self, shape, classes, stages, blocks, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], stages[0], 3, padding=1, bias=False)
        self.bn1 = norm(stages[0])
        inputs = stages[0]
        for i, outputs in enumerate(stages, 1):
            first = Block(inputs, outputs, 1 if i == 1 else 2, norm)
            rest = [Block(outputs, outputs, 1, norm) for _ in range(1, blocks)]
            setattr(self, f"layer{i}", nn.Sequential(first, *rest))
            inputs = outputs
        self.stages = len(stages)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for i in range(1, self.stages + 1):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean(dim=(2, 3)))


class CharLstm(nn.Module):
    """What follows a window of text, or each of its positions, window after window."""

    def __init__(self, classes, layers, per_position=False):
        super().__init__()
        self.per_position = per_position
        self.embedding = nn.Embedding(82, 8)
        self.lstm = nn.LSTM(8, 256, layers, batch_first=True)
        self.fc = nn.Linear(256, classes)

    def forward(self, x):
        values, _ = self.lstm(self.embedding(x.flatten(1).long()))
        if self.per_position:
            return self.fc(values).flatten(0, 1)
        return self.fc(values[:, -1])


def cnn(sizes):
    return lambda shape, classes: Cnn(shape, classes, sizes)


def fedmd(sizes, dropout):
    return lambda shape, classes: FedMd(shape, classes, sizes, dropout)


def resnet(stages, blocks, norm=nn.BatchNorm2d):
    return lambda shape, classes: ResNet(shape, classes, stages, blocks, norm)


def group_norm(maps):
    return nn.GroupNorm(16, maps)


SMALL, LARGE = [16, 32, 64], [64, 128, 256, 512]

MODELS = {
    "lenet": LeNet,
    "cnn[16,32]": cnn([16, 32]),
    "cnn[16,32,64]": cnn([16, 32, 64]),
    "mlp[32]": lambda shape, classes: Mlp(shape, classes, [32]),
    "2nn": TwoNn,
    "mcmahan": McMahan,
    "fedmd[128,256;0.2]": fedmd([128, 256], 0.2),
    "fedmd[128,384;0.2]": fedmd([128, 384], 0.2),
    "fedmd[128,512;0.2]": fedmd([128, 512], 0.2),
    "fedmd[256,256;0.3]": fedmd([256, 256], 0.3),
    "fedmd[256,512;0.4]": fedmd([256, 512], 0.4),
    "fedmd[64,128,256;0.2]": fedmd([64, 128, 256], 0.2),
    "fedmd[64,128,192;0.2]": fedmd([64, 128, 192], 0.2),
    "fedmd[128,192,256;0.2]": fedmd([128, 192, 256], 0.2),
    "fedmd[128,128,128;0.3]": fedmd([128, 128, 128], 0.3),
    "fedmd[128,128,192;0.3]": fedmd([128, 128, 192], 0.3),
    "resnet[8]": resnet(SMALL, 1),
    "resnet[18]": resnet(LARGE, 2),
    "resnet[20]": resnet(SMALL, 3),
    "resnetgn[8]": resnet(SMALL, 1, group_norm),
    "resnetgn[18]": resnet(LARGE, 2, group_norm),
    "resnetgn[20]": resnet(SMALL, 3, group_norm),
    "charlstm[1]": lambda shape, classes: CharLstm(classes, 1),
    "charlstm[2]": lambda shape, classes: CharLstm(classes, 2),
    "charlstm[1] per position": lambda shape, classes: CharLstm(classes, 1, per_position=True),
    "charlstm[2] per position": lambda shape, classes: CharLstm(classes, 2, per_position=True),
}


class Masks(nn.Module):
    """Dropout by masks that were drawn before, one after the other, in the place of PyTorch's own."""

    def __init__(self, kept, probability):
        super().__init__()
        self.kept, self.scale, self.used = kept, 1 / (1 - probability), 0

    def forward(self, x):
        kept = self.kept[self.used : self.used + x.numel()]
        self.used += x.numel()
        return x * (kept.reshape(x.shape) * self.scale)


def load(path):
    return {name: torch.from_numpy(array.copy()) for name, array in load_file(path).items()}


def is_undone(model, name):
    """Whether a parameter is the bias of a convolution that batch norm follows."""
    number = name.removeprefix("conv").removesuffix(".bias")
    return name == f"conv{number}.bias" and isinstance(getattr(model, f"bn{number}", None), nn.BatchNorm2d)


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """A folder with what the learner's example `export` writes for each architecture."""
    folder = tmp_path_factory.mktemp("export")
    run("examples/export", folder)
    return folder


@pytest.fixture
def loaded(exported):
    """The model of an architecture with the exported weights, and the exported rows, labels and logits."""

    def loaded(architecture):
        folder = exported / architecture
        io = load(folder / "io.safetensors")
        model = MODELS[architecture](io["rows"].shape[1:], io["logits"].shape[1])
        model.load_state_dict(load(folder / "weights.safetensors"), strict=True)
        return model, io["rows"], io["labels"], io["logits"]

    return loaded


def test_every_architecture_of_the_export_is_compared(exported):
    assert {folder.name for folder in exported.iterdir()} == set(MODELS)


def test_every_family_of_the_registry_is_compared():
    """A family that is added needs a model here."""
    families = re.findall(r'\.with(?:_dropout)?\("(\w+)", networks::', (ROOT / "stages/learner/src/registry.rs").read_text())
    assert families and set(families) == {name.partition("[")[0] for name in MODELS}


@pytest.mark.parametrize("architecture", MODELS)
def test_weights_load_strictly_and_give_the_same_logits(loaded, architecture):
    model, rows, _, expected = loaded(architecture)
    model.eval()
    with torch.no_grad():
        logits = model(rows)

    # Rows that all look alike would agree whatever the order of pixels and channels is.
    assert len(rows) > 1 and logits.shape == expected.shape and expected.std(dim=0).max() > 50 * TOLERANCE
    assert torch.isfinite(expected).all()
    assert (logits - expected).abs().max().item() <= TOLERANCE * max(1, expected.abs().max().item())


@pytest.mark.parametrize("architecture", MODELS)
def test_a_training_step_has_the_same_gradients_and_buffers(exported, loaded, architecture):
    model, rows, labels, _ = loaded(architecture)
    # In float64: PyTorch's own float32 is further from it than ours, through twenty layers.
    model.double().train()
    rows = rows.double() if rows.is_floating_point() else rows
    if hasattr(model, "dropout"):
        drawn = load(exported / architecture / "step" / "dropout.safetensors")
        order, probability = drawn["rows"], model.dropout.p
        rows, labels = rows[order], labels[order]
        model.dropout = Masks(drawn[str(probability)].double(), probability)
    functional.cross_entropy(model(rows), labels).backward()

    # The momentum of a first step is its gradient.
    state = load(exported / architecture / "step" / "optimizer.safetensors")
    parameters = dict(model.named_parameters())
    assert set(state) == {"step"} | {f"{name}.momentum_buffer" for name in parameters}
    # Of a million values before ReLU one may be within rounding of 0, and be cut off here and not there: that changes the
    # gradients of its own channel and of the layers before it, a little.
    cut_off = False
    for name, parameter in reversed(parameters.items()):
        expected = state[f"{name}.momentum_buffer"].reshape(parameter.shape)
        largest = expected.abs().max().item()
        if is_undone(model, name):
            # What is added before batch norm changes nothing: its gradient is 0, and ours is rounding.
            weight = state[f"{name.removesuffix('bias')}weight.momentum_buffer"]
            assert largest <= 2e-4 * weight.abs().max().item() + 1e-6, name
            continue
        assert largest > 1e-6, f"{name}: nothing would be compared"
        difference = (parameter.grad - expected).abs()
        close = (difference <= 2e-4 * largest + 1e-6).double().mean().item()
        assert cut_off or close >= 0.98, f"{name}: {difference.max().item()} of {largest}, {close} are close"
        cut_off |= close < 1
        length, off = expected.double().norm().item(), difference.norm().item()
        assert off <= 2e-2 * length + 1e-6, f"{name}: {off} of {length}"

    stepped = load(exported / architecture / "step" / "weights.safetensors")
    for name, buffer in model.named_buffers():
        assert torch.allclose(buffer.float(), stepped[name].float(), rtol=1e-4, atol=1e-5), name


def test_batch_norm_is_not_at_its_start(exported):
    """A model that was never trained has mean 0 and variance 1, and would not show which is which."""
    weights = load(exported / "cnn[16,32]" / "weights.safetensors")
    assert weights["bn1.running_mean"].abs().max() > 1e-3
    assert (weights["bn1.running_var"] - 1).abs().max() > 1e-3
