"""Restoring a variable makes initializing it unnecessary: a plan does one or the other, never both."""

import tempfile

import tensorflow as tf

import toolkit

v1 = tf.compat.v1


def build():
    v1.get_variable("features/weights", [2], initializer=v1.zeros_initializer())
    v1.get_variable("head/weights", [2], initializer=v1.ones_initializer())


with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        build()
        session.run([v.assign([7, 8]) for v in v1.global_variables()])
        toolkit.save(session, f"{folder}/model")

    with tf.Graph().as_default(), v1.Session() as session:
        build()
        v1.get_variable("extra", [1], initializer=v1.zeros_initializer())
        with toolkit.open_checkpoint(f"{folder}/model") as checkpoint:
            plan = toolkit.plan_restore(checkpoint)
            print("ok:", plan.ok)
            print(plan.explain("extra"))

            plan = toolkit.plan_restore(checkpoint, on_missing="init")
            print(plan)
            plan.apply(session)
        print({v.op.name: session.run(v).tolist() for v in v1.global_variables()})
