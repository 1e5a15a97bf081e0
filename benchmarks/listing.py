"""Listing 20,000 variables: `ckpt inspect` beside TensorFlow's `inspect_checkpoint`.

python benchmarks/listing.py
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from measure import in_turn

import toolkit

MAKE = """
import sys
import numpy as np
from toolkit.formats.bundle.writer import BundleWriter
with BundleWriter(sys.argv[1]) as writer:
    for i in range(20_000):
        writer.add(f"scope_{i // 16:04}/layer/var_{i % 16:02}", np.full((8, 8), i, np.float32))
    writer.finish()
"""
"""Run apart: what this process has in memory, its children would count as theirs."""


def main() -> None:
    """Run each in turn and print what they took."""
    compileall.compile_dir(toolkit.__path__[0], quiet=1)  # as pip does on installing
    ckpt = shutil.which("ckpt", path=sysconfig.get_path("scripts"))
    if ckpt is None:
        sys.exit("ckpt is not installed beside this Python")
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/many"
        subprocess.run([sys.executable, "-c", MAKE, prefix], check=True)
        tool = "tensorflow.python.tools.inspect_checkpoint"
        found = in_turn(
            {
                "ckpt inspect": [ckpt, "inspect", prefix],
                "tensorflow inspect_checkpoint": [sys.executable, "-m", tool, f"--file_name={prefix}"],
                "python -c 'import typer' (the least)": [sys.executable, "-c", "import typer"],
            }
        )
    ours, theirs, least = found.values()
    print("listing 20,000 variables, whole processes, medians of 5 runs in turn")
    print(f"{'':38} {'seconds':>8} {'peak MiB':>9}")
    for name, run in found.items():
        print(f"{name:38} {run.seconds:8.3f} {run.peak:9.0f}")
    print(
        f"{theirs.seconds / ours.seconds:.0f} times faster, 1/{theirs.peak / ours.peak:.0f} of the memory, "
        f"{ours.seconds / least.seconds:.1f} times the least that a command can take"
    )


if __name__ == "__main__":
    main()
