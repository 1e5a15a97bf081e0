"""Fine-tuning for another number of classes: the body is restored, the new head keeps its initial values."""

import tempfile

import numpy as np
import tensorflow as tf

import toolkit
from toolkit.graph.models import perceptron

v1 = tf.compat.v1

with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        model = perceptron(4, (3,), 2)
        toolkit.initialize(session)
        session.run(model.train_op, {model.inputs: np.eye(4), model.labels: [0, 1, 0, 1]})
        toolkit.save(session, f"{folder}/two-classes")

    with tf.Graph().as_default(), v1.Session() as session:
        perceptron(4, (3,), 5)
        plan = toolkit.plan_restore(f"{folder}/two-classes")
        print(f"as it is: {plan['head/kernel'].problem}")
        print(f"    hint: {plan['head/kernel'].hint}")

        plan = toolkit.plan_restore(f"{folder}/two-classes", on_shape="init", reinit=["global_step"])
        plan.apply(session, verify=True)
        for verdict in plan.verdicts:
            print(f"{verdict.action:10}  {verdict.name:20}  {verdict.reason}")
