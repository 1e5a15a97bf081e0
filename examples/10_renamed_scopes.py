"""A model whose scopes are called otherwise today: the plan proposes the rename that finds them."""

import tempfile

import tensorflow as tf

import toolkit

v1 = tf.compat.v1


def build(scope):
    for layer in ("conv1", "conv2"):
        v1.get_variable(f"{scope}/{layer}/kernel", [3, 3], initializer=v1.random_normal_initializer())


with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        build("vgg")
        toolkit.initialize(session)
        toolkit.save(session, f"{folder}/old")

    with tf.Graph().as_default(), v1.Session() as session:
        build("tower/backbone")
        plan = toolkit.plan_restore(f"{folder}/old")
        for verdict in plan.problems:
            print(f"{verdict.name}: {verdict.problem}; {verdict.hint}")

        plan = toolkit.plan_restore(f"{folder}/old", rename={"vgg": "tower/backbone"})
        plan.apply(session, verify=True)
        for verdict in plan.verdicts:
            print(f"{verdict.action} {verdict.name}: {verdict.reason}")
