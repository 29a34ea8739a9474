"""What the Python tests share: how a binary of the workspace is run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cargo_run():
    """Run `cargo run --release` with these arguments in the repository's root; its output is shown if it fails."""

    def run(*args):
        command = [os.environ.get("CARGO", "cargo"), "run", "--release", "--quiet", *map(str, args)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
