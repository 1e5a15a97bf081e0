"""Fine-tune on the digits 5 to 9: from restored features, and from scratch, side by side.

python examples/digits/finetune.py CKPT PICTURE.png
"""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import tensorflow as tf
from model import accuracy, digits, images, train

import toolkit

STEPS = 20
SEEDS = (1, 2, 3, 4, 5)


def curve(checkpoint: toolkit.Checkpoint | None, seed: int) -> list[float]:
    """Return the accuracy before each step and after the last; from scratch without a checkpoint."""
    inputs, labels, test_inputs, test_labels = images(first=5)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(seed)
        model = digits()
        if checkpoint is None:
            toolkit.initialize(session)
        else:
            toolkit.plan_restore(checkpoint, reinit=["head"]).apply(session)
        steps = train(session, model, inputs, labels, STEPS, seed)
        before = accuracy(session, model, test_inputs, test_labels)
        return [before, *(accuracy(session, model, test_inputs, test_labels) for _ in steps)]


def picture(restored: np.ndarray, scratch: np.ndarray, path: str) -> None:
    """Draw both: the mean over the seeds, and each seed faintly."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for curves, name, color in ((restored, "restored features", "C0"), (scratch, "from scratch", "C1")):
        axes.plot(curves.T, color=color, alpha=0.25, linewidth=1)
        axes.plot(curves.mean(0), color=color, linewidth=2.5, label=name)
    axes.set(
        xlabel="steps on the digits 5-9",
        ylabel="accuracy",
        ylim=(0, 1),
        xlim=(0, STEPS),
        xticks=range(0, STEPS + 1, 5),
    )
    axes.set_title("The same few steps, with and without what was learned on 0-4")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    plt.savefig(path, dpi=150)


def main(ckpt: str, path: str) -> None:
    print(f"accuracy on the digits 5-9 after {STEPS} steps of 32 images")
    print(f"{'seed':>6} {'restored':>10} {'scratch':>10}")
    curves = []
    with toolkit.open_checkpoint(ckpt) as checkpoint:
        for seed in SEEDS:
            pair = curve(checkpoint, seed), curve(None, seed)
            print(f"{seed:>6} {pair[0][-1]:>10.1%} {pair[1][-1]:>10.1%}")
            curves.append(pair)
    restored, scratch = np.array(curves).swapaxes(0, 1)
    print(f"{'mean':>6} {restored[:, -1].mean():>10.1%} {scratch[:, -1].mean():>10.1%}")
    picture(restored, scratch, path)
    print(f"both curves: {path}")
    if not (restored[:, -1] > scratch[:, -1]).all():
        sys.exit("restored features did not win for every seed")


if __name__ == "__main__":
    main(*sys.argv[1:])
