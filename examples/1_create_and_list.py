"""Creating variables with names, and listing them all."""

import tensorflow as tf

import toolkit

v1 = tf.compat.v1

with tf.Graph().as_default():
    v1.get_variable("weights", [2, 3], initializer=v1.random_normal_initializer(stddev=0.1))
    biases = v1.get_variable("biases", [3], initializer=v1.zeros_initializer())
    v1.get_variable("step", [], tf.int64, v1.zeros_initializer(), trainable=False)
    v1.get_variable("shifted", initializer=lambda: biases.read_value() + 1.0)

    for variable in toolkit.list_variables():
        print(f"{variable.name:8} {variable.dtype!s:8} {variable.shape}")
        print("    trained by an optimizer:", variable.trainable)
        print("    initial value computed from:", ", ".join(variable.depends_on) or "nothing else")
