"""Rows a second of a training step in PyTorch, by architecture and batch, on one thread: what `bench_fit` is compared with.

    python benchmarks/pytorch_step.py ["cnn[16,32]" ..]

Any PyTorch does; distributions' own builds, without MKL and oneDNN, are several times as slow as PyPI's.
"""

import sys
import time

import torch
from torch import nn

torch.set_num_threads(1)


def lenet():
    first = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def cnn(*channels):
    layers, inputs = [], 1
    for outputs in channels:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        layers += [conv, nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.2)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * (28 >> len(channels)) ** 2, 10))


def mlp(*sizes):
    layers, inputs = [nn.Flatten()], 784
    for outputs in sizes:
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        shortcut = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*([] if same else shortcut))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet18():
    layers, inputs = [nn.Conv2d(1, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for outputs, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        layers.append(Block(inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


MODELS = {
    "lenet": lenet,
    "cnn[16,32]": lambda: cnn(16, 32),
    "cnn[16,32,64]": lambda: cnn(16, 32, 64),
    "mlp[200,200]": lambda: mlp(200, 200),
    "resnet[18]": resnet18,
}

for name in sys.argv[1:] or MODELS:
    for batch in [8, 32, 64, 128]:
        model = MODELS[name]()
        adam = torch.optim.Adam(model.parameters(), 1e-3)
        rows = batch * (2 if name == "resnet[18]" else 16)
        images, labels = torch.rand(rows, 1, 28, 28), torch.arange(rows) % 10
        best = 0
        for _ in range(3):
            started, done = time.perf_counter(), 0
            while time.perf_counter() - started < 0.7:
                for first in range(0, rows, batch):
                    adam.zero_grad()
                    logits = model(images[first : first + batch])
                    nn.functional.cross_entropy(logits, labels[first : first + batch]).backward()
                    adam.step()
                    done += batch
            best = max(best, done / (time.perf_counter() - started))
        print(f"{name:<16} batch {batch:>4}: {best:>8.0f} images/s")
