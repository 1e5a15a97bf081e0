"""Run every example in a process of its own and compare what it prints with the file beside it.

python examples/check.py [--write]
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent


def output_of(path: Path) -> str:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, path], check=False, capture_output=True, text=True, env=environment
    )
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def main(write: bool) -> None:
    examples = sorted(HERE.glob("[0-9]*_*.py"), key=lambda path: int(path.name.partition("_")[0]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = list(pool.map(output_of, examples))
    failed = 0
    for example, output in zip(examples, outputs, strict=True):
        beside = example.with_suffix(".out")
        if write:
            beside.write_text(output)
        expected = beside.read_text() if beside.exists() else ""
        lines = len(example.read_text().splitlines())
        if output != expected or lines > 60:
            failed += 1
            print(f"{example.name}: {lines} lines")
            print(
                *difflib.unified_diff(
                    expected.split("\n"), output.split("\n"), "expected", "found", lineterm=""
                ),
                sep="\n",
            )
    if failed:
        sys.exit(f"make examples: {failed} of {len(examples)} examples differ from what is beside them")
    print(f"make examples: {len(examples)} examples print what is beside them")


if __name__ == "__main__":
    main("--write" in sys.argv)
