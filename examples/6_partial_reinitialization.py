"""Giving the head of a trained network fresh values, its optimizer slots with it, in the file alone."""

import tempfile

import numpy as np
import tensorflow as tf

import toolkit
from toolkit.graph.models import perceptron

v1 = tf.compat.v1

with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        model = perceptron(4, (3,), 2)
        toolkit.initialize(session)
        session.run(model.train_op, {model.inputs: np.eye(4), model.labels: [0, 1, 0, 1]})
        toolkit.save(session, f"{folder}/trained")

    with toolkit.open_checkpoint(f"{folder}/trained") as trained:
        plan = toolkit.plan_reinit(trained, ["head"], init="he_normal", seed=7)
        plan.write(f"{folder}/fresh")
        with toolkit.open_checkpoint(f"{folder}/fresh") as fresh:
            for name, variable in trained.items():
                same = np.array_equal(variable.read(), fresh[name].read())
                print(f"{name:21} {'the same' if same else plan.explain(name).partition(': ')[2]}")
