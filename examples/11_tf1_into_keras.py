"""A checkpoint of TensorFlow 1 in a Keras 3 model, by the paths of its weights."""

import tempfile

import numpy as np
import tensorflow as tf

import toolkit

v1 = tf.compat.v1

with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        for layer, shape in (("fc1", (4, 3)), ("logits", (3, 2))):
            v1.get_variable(f"{layer}/weights", shape, initializer=v1.ones_initializer())
            v1.get_variable(f"{layer}/biases", shape[1:], initializer=v1.ones_initializer())
        toolkit.initialize(session)
        toolkit.save(session, f"{folder}/from-2016")

    hidden, head = tf.keras.layers.Dense(3, name="hidden"), tf.keras.layers.Dense(2, name="head")
    model = tf.keras.Sequential([tf.keras.Input((4,)), hidden, head], name="net")
    rename = ["fc1=net/hidden", "logits=net/head", r"re:/weights$=/kernel", r"re:/biases$=/bias"]
    plan = toolkit.plan_restore(f"{folder}/from-2016", model, rename=rename)
    for verdict in plan.verdicts:
        print(f"{verdict.action} {verdict.name}: {verdict.reason}")
    plan.apply(verify=True)
    print(np.asarray(model(np.ones((1, 4), "f"))))  # 3 * (4 + 1) + 1
