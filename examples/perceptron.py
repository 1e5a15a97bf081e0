"""A small network as a model function: `ckpt restore … --model examples/perceptron.py:network`."""

import tensorflow as tf

from toolkit.graph.models import perceptron


def network():
    perceptron(num_features=4, hidden=(3,), num_classes=2, optimizer="adam", average=0.5)


def in_a_scope():
    with tf.compat.v1.variable_scope("net"):
        network()
