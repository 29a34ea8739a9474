"""What the Python tests share: how a program of the workspace is run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


@pytest.fixture(scope="session")
def run():
    """Run a program that `cargo test --release --workspace` has built, as `fedstill` or `examples/export`, with these
    arguments in the repository's root; its output is shown if it fails."""

    def run(program, *args):
        assert (BUILT / program).is_file(), f"{BUILT / program} is not there: tests/run builds it"
        command = [str(BUILT / program), *map(str, args)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
