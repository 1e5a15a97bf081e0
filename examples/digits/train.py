"""Train on the digits 0 to 4, and save with TensorFlow's own Saver.

python examples/digits/train.py PREFIX
"""

from __future__ import annotations

import sys

import tensorflow as tf
from model import accuracy, digits, images, train

STEPS = 300


def main(prefix: str) -> None:
    inputs, labels, test_inputs, test_labels = images(first=0)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        model = digits()
        session.run(tf.compat.v1.global_variables_initializer())
        for _ in train(session, model, inputs, labels, STEPS, seed=1):
            pass
        found = accuracy(session, model, test_inputs, test_labels)
        print(f"trained on {len(labels)} images of the digits 0-4 for {STEPS} steps")
        print(f"accuracy on {len(test_labels)} others: {found:.1%}")
        path = tf.compat.v1.train.Saver().save(session, prefix, model.global_step)
        print(f"saved {path}")


if __name__ == "__main__":
    main(sys.argv[1])
