"""Restoring 1 GiB by plan beside the bare Saver, and making a plan over 20,000 variables.

python benchmarks/restoring.py
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from toolkit import open_checkpoint, plan_restore
from toolkit.change.matching import Matching
from toolkit.change.rules import Rules, Target
from toolkit.formats.bundle.writer import BundleWriter

v1 = tf.compat.v1
NUM_VARIABLES, SIZE = 64, 1 << 22
RUNS = 7


def build() -> None:
    """Build 64 variables of 16 MiB."""
    for i in range(NUM_VARIABLES):
        v1.get_variable(f"v{i}", [SIZE], initializer=v1.zeros_initializer(), use_resource=True)


def bare(prefix: str) -> float:
    """Restore with the Saver; return the seconds it took."""
    with tf.Graph().as_default(), v1.Session() as session:
        build()
        saver = v1.train.Saver()
        begun = time.perf_counter()
        saver.restore(session, prefix)
        return time.perf_counter() - begun


def planned(prefix: str) -> float:
    """Restore by a plan; return the seconds that carrying it out took."""
    with tf.Graph().as_default(), v1.Session() as session:
        build()
        plan = plan_restore(prefix)
        plan.prepare()
        begun = time.perf_counter()
        plan.apply(session)
        return time.perf_counter() - begun


def main() -> None:
    """Run each in turn and print what they took."""
    with tempfile.TemporaryDirectory() as folder:
        with BundleWriter(f"{folder}/big") as writer:
            for i in range(NUM_VARIABLES):
                writer.add(f"v{i}", np.full(SIZE, i, np.float32))
            writer.finish()
        ways: dict[str, Callable[[str], float]] = {"the bare Saver": bare, "by plan": planned}
        seconds: dict[str, list[float]] = {name: [way(f"{folder}/big")][:0] for name, way in ways.items()}
        for _ in range(RUNS):
            for name, way in ways.items():
                seconds[name].append(way(f"{folder}/big"))
        print(f"restoring 1 GiB in {NUM_VARIABLES} variables, {RUNS} runs in turn: least and median seconds")
        for name, found in seconds.items():
            print(f"{name:16} {min(found):8.3f} {statistics.median(found):8.3f}")
        least, median = (
            reduced(seconds["by plan"]) / reduced(seconds["the bare Saver"]) - 1
            for reduced in (min, statistics.median)
        )
        print(f"a plan costs {least:+.1%} by the least, {median:+.1%} by the median")
        with BundleWriter(f"{folder}/many") as writer:
            for i in range(20_000):
                writer.add(f"net/scope_{i // 16:04}/var_{i % 16:02}", np.zeros(8, np.float32))
            writer.finish()
        with open_checkpoint(f"{folder}/many") as checkpoint:
            variables = checkpoint.variables()
            for scope in ("net", "student"):
                names = {name: f"{scope}{name.removeprefix('net')}" for name in variables}
                targets = {names[name]: Target(v.dtype, v.shape) for name, v in variables.items()}
                begun = time.perf_counter()
                fates = Matching(checkpoint, targets, Rules()).fates()
                missing = sum(fate.problem is not None for fate in fates.values())
                took = time.perf_counter() - begun
                print(f"a plan over 20,000 variables, {missing:,} of them missing: {took:.2f} s")


if __name__ == "__main__":
    main()
