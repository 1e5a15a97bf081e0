"""Initializing chosen variables alone; the others stay without a value."""

import tensorflow as tf

import toolkit

v1 = tf.compat.v1

with tf.Graph().as_default(), v1.Session() as session:
    weights = v1.get_variable("weights", [2], initializer=v1.ones_initializer())
    v1.get_variable("biases", [2], initializer=v1.zeros_initializer())

    toolkit.initialize(session, [weights])
    for variable in toolkit.list_variables(session=session):
        state = session.run(variable.variable).tolist() if variable.initialized else "no value"
        print(variable.name, state)

    toolkit.initialize(session, ["biases"])  # by name
    print("all have one:", all(v.initialized for v in toolkit.list_variables(session=session)))
