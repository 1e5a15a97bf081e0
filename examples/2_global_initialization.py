"""Initializing all variables in a session: each after those that its initial value is computed from."""

import tensorflow as tf

import toolkit

v1 = tf.compat.v1

with tf.Graph().as_default(), v1.Session() as session:
    biases = v1.get_variable("biases", [3], initializer=v1.zeros_initializer())
    v1.get_variable("shifted", initializer=lambda: biases.read_value() + 1.0)

    # One run of v1.global_variables_initializer() has no order among these two, and may fail.
    plan = toolkit.initialize(session)
    print(plan)
    print("in waves:", plan.waves())
    print({v.op.name: session.run(v).tolist() for v in v1.global_variables()})
