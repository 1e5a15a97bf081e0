"""The whole story in one run, each step a command with its real output.

python examples/digits/demo.py FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(os.path.relpath(Path(__file__).parent))
MODEL = f"{HERE}/model.py:digits"


def say(title: str) -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}", flush=True)


def run(*arguments: object, quiet_log: bool = False) -> float:
    """Show a command, run it, and return how many seconds it took. One that fails ends the story."""
    words = [str(argument) for argument in arguments]
    print(f"$ {' '.join(words)}", flush=True)
    program = shutil.which(words[0], path=sysconfig.get_path("scripts")) or sys.executable
    start = time.perf_counter()
    # TensorFlow's native log says what processor this is; everything else is shown
    stderr = subprocess.PIPE if quiet_log else None
    done = subprocess.run([program, *words[1:]], check=False, stderr=stderr, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit((done.stderr or "") + f"`{' '.join(words)}` failed: exit {done.returncode}")
    return seconds


def main(folder: str) -> None:
    start = time.perf_counter()
    out = Path(folder)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    trained = out / "digits04-300"

    say("1. A small convolutional network learns the digits 0-4, and TensorFlow's Saver saves it.")
    run("python", HERE / "train.py", out / "digits04", quiet_log=True)

    say("2. What is in the checkpoint?")
    run("ckpt", "inspect", trained)

    say("3. For the digits 5-9 the features are to be kept and the head is to start afresh. The plan:")
    restore = ("ckpt", "restore", trained, "--model", MODEL, "--reinit", "head", "--seed", 1)
    run(*restore, "--dry-run")
    say("   So it shall be:")
    restored = run(*restore, "-o", out / "digits59", "--quiet")
    run("ckpt", "inspect", out / "digits59", "head", "global_step")

    say("4. Does it help? The same few steps on 5-9, with the restored features and from scratch:")
    run("python", HERE / "finetune.py", trained, out / "accuracy.png", quiet_log=True)

    say("5. The same change to the file alone, without TensorFlow:")
    reinitialized = run("ckpt", "reinit", trained, "head", "-o", out / "digits59-file", "--seed", 1)
    print(
        f"{reinitialized:.2f} s, where building the graph, restoring and saving took {restored:.2f} s: "
        f"{restored / reinitialized:.0f} times faster"
    )

    say("6. For others, as HDF5:")
    run("ckpt", "export", out / "digits59", out / "digits59.h5")

    say(f"make demo: done in {time.perf_counter() - start:.0f} s; what it made is in {out}/")


if __name__ == "__main__":
    main(sys.argv[1])
