"""Kill a keeper at one system call of a save after another; print what the next process finds, as JSON.

    python killed_keeper.py DIRECTORY

Each step is a forked process, before TensorFlow has started any thread here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.tensorflow import tf
from toolkit import CheckpointKeeper, latest, log, open_checkpoint, plan_repair

CALLS = ("link", "unlink", "fsync", "replace", "rename", "mkdir")


def root(value: float) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(w=tf.Variable([value] * 3))


def in_a_process(work, *arguments) -> bool:
    """Run `work` in a forked process; return whether that was killed."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        sys.exit(f"failed: {work.__name__}{arguments}")
    return os.WIFSIGNALED(status)


def begin(directory: Path) -> None:
    keeper = CheckpointKeeper(directory, keep=2)
    for step in (1, 2, 3):
        keeper.save(root(float(step)), step)


def save(directory: Path, call: str, turn: int) -> None:
    real, calls = getattr(os, call), iter(range(10000))

    def killing(*arguments, **keywords):
        if next(calls) == turn:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keywords)

    setattr(os, call, killing)
    CheckpointKeeper(directory, keep=2).save(root(4.0), 4)


def latest_steps(directory: Path) -> list[int]:
    """Return the steps of the latest save, as each of those who are asked tells it."""
    opened = open_checkpoint(directory)
    return [
        latest(directory).step,
        next(each.step for each in log(directory) if each.latest),
        int(opened.path.rpartition("-")[2]),
    ]


def go_on(directory: Path, call: str, turn: int, killed: bool) -> None:
    told = latest_steps(directory)
    mended = directory.with_name(f"{directory.name}-mended")
    shutil.copytree(directory, mended)  # with its times
    plan_repair(mended).apply()
    told.append(int(tf.train.latest_checkpoint(str(mended)).rpartition("-")[2]))
    other = root(0.0)
    restored = CheckpointKeeper(directory, keep=2).restore(other)
    CheckpointKeeper(directory, keep=2).save(other, 5)
    names = sorted(os.listdir(directory))
    kept = (f"model.ckpt-{restored.step}.", "model.ckpt-5.")
    outcome = {
        "call": call,
        "turn": turn,
        "killed": killed,
        "restored": restored.step,
        "told": told,
        "value": float(other.w.numpy()[0]),
        "skipped": len(restored.skipped),
        "indexes": [name for name in names if name.endswith(".index")],
        "others": [name for name in names if not name.startswith(kept)],
    }
    (directory.parent / f"{call}{turn}.json").write_text(json.dumps(outcome))


def main() -> None:
    """Try all calls, each until a save comes to its end."""
    outcomes = []
    begun = Path(sys.argv[1]) / "begun"
    in_a_process(begin, begun)
    for call in CALLS:
        for turn in range(200):
            directory = Path(sys.argv[1]) / f"{call}{turn}"
            shutil.copytree(begun, directory)
            killed = in_a_process(save, directory, call, turn)
            in_a_process(go_on, directory, call, turn, killed)
            outcomes.append(json.loads((directory.parent / f"{call}{turn}.json").read_text()))
            if not killed:
                break
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
