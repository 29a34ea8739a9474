"""Weights written by fedstill load in plain PyTorch models, strictly, and give the same logits.

The models below are what a PyTorch user would write for these architectures, not a copy of fedstill's code: names,
layouts and the order in which an image is flattened are what is tested.
"""

import pytest

try:
    import torch
    from torch import nn
except ImportError:
    pytest.skip(
        "weights in PyTorch: python3-torch is not installed; apt-get install python3-torch", allow_module_level=True
    )

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


MODELS = {
    "lenet": LeNet,
    "cnn[16,32]": lambda shape, classes: Cnn(shape, classes, [16, 32]),
    "mlp[32]": lambda shape, classes: Mlp(shape, classes, [32]),
}


def load(path):
    return {name: torch.from_numpy(array.copy()) for name, array in load_file(path).items()}


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """A folder with `<architecture>/{weights,io}.safetensors`, written by the learner's example `export`."""
    folder = tmp_path_factory.mktemp("export")
    run("examples/export", folder)
    return folder


@pytest.mark.parametrize("architecture", MODELS)
def test_weights_load_strictly_and_give_the_same_logits(exported, architecture):
    folder = exported / architecture
    io = load(folder / "io.safetensors")
    images, expected = io["images"], io["logits"]
    model = MODELS[architecture](images.shape[1:], expected.shape[1])
    model.load_state_dict(load(folder / "weights.safetensors"), strict=True)
    model.eval()
    with torch.no_grad():
        logits = model(images)

    # Rows that all look alike would agree whatever the order of pixels and channels is.
    assert len(images) > 1 and expected.std(dim=0).max() > 100 * TOLERANCE
    assert torch.isfinite(expected).all()
    assert (logits - expected).abs().max().item() <= TOLERANCE


def test_batch_norm_is_not_at_its_start(exported):
    """A model that was never trained has mean 0 and variance 1, and would not show which is which."""
    weights = load(exported / "cnn[16,32]" / "weights.safetensors")
    assert weights["bn1.running_mean"].abs().max() > 1e-3
    assert (weights["bn1.running_var"] - 1).abs().max() > 1e-3
