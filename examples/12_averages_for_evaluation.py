"""Evaluating with moving averages in place of the weights that training left."""

import tempfile

import numpy as np
import tensorflow as tf

import toolkit
from toolkit.graph.models import perceptron

v1 = tf.compat.v1

with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        model = perceptron(4, (3,), 2, optimizer="sgd", average=0.9)
        toolkit.initialize(session)
        for _ in range(20):
            session.run(model.train_op, {model.inputs: np.eye(4), model.labels: [0, 1, 0, 1]})
        toolkit.save(session, f"{folder}/trained")

    with tf.Graph().as_default(), v1.Session() as session:
        perceptron(4, (3,), 2, optimizer="sgd")
        for ema in ("ignore", "prefer"):
            plan = toolkit.plan_restore(f"{folder}/trained", ema=ema)
            plan.apply(session, verify=True)
            print(f"{ema}: {plan['head/kernel'].reason}; {plan['global_step'].reason}")
