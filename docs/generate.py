"""Put what `--help` says into `cli.md`, below its marker.

python docs/generate.py [--check]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
MARKER = "<!-- What follows is written by docs/generate.py: change the commands, not this. -->\n"
COMMANDS = ("inspect", "init", "restore", "reinit", "export")


def help_of(*arguments: str) -> str:
    """Return what `ckpt … --help` prints on a terminal of 80 columns."""
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def generated() -> str:
    """Return the part of the page below the marker."""
    program = f"\n```text\n{help_of()}```\n"
    return program + "".join(f"\n### ckpt {c}\n\n```text\n{help_of(c)}```\n" for c in COMMANDS)


def main(check: bool) -> None:
    """Write the page anew, or say that it should be."""
    text = PAGE.read_text("utf-8")
    head, found, below = text.partition(MARKER)
    if not found:
        sys.exit(f"{PAGE}: has no marker")
    now = generated()
    if check and below != now:
        sys.exit(f"{PAGE}: differs from --help; run docs/generate.py")
    PAGE.write_text(head + MARKER + now, "utf-8")


if __name__ == "__main__":
    main("--check" in sys.argv)
