"""Timing whole processes against each other: in turn, after a warm-up, by the system's own accounts."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple


class Run(NamedTuple):
    """One run of a command: seconds by the clock, and the most memory it had, in MiB."""

    seconds: float
    peak: float


def run(command: list[str]) -> Run:
    """Run a command to its end, its output thrown away."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed: exit {process.returncode}")
    return Run(seconds, usage.ru_maxrss / 1024)


def in_turn(commands: dict[str, list[str]], rounds: int = 5) -> dict[str, Run]:
    """Return the medians of `rounds` runs of each command, run A B C, A B C … after one warm-up of each."""
    for command in commands.values():
        run(command)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run(command))
    return {
        name: Run(statistics.median(r.seconds for r in found), statistics.median(r.peak for r in found))
        for name, found in runs.items()
    }
