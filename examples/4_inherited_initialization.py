"""Starting a variable as a copy of another: of its initial value, or of its current one."""

import numpy as np
import tensorflow as tf

import toolkit

v1 = tf.compat.v1

with tf.Graph().as_default(), v1.Session() as session:
    v1.set_random_seed(1)
    normal = v1.random_normal_initializer()
    weights = v1.get_variable("weights", [3], initializer=normal)
    initial = v1.get_variable("initial", [3], initializer=normal)
    current = v1.get_variable("current", [3], initializer=normal)

    toolkit.initialize(session, copies={initial: weights})
    print("one draw for both:", np.array_equal(*session.run([weights, initial])))

    session.run(weights.assign([1, 2, 3]))
    toolkit.initialize(session, copies={current: weights}, copy_value="current")
    print("current:", session.run(current).tolist())

    try:
        toolkit.initialize(session, copies={initial: weights})
    except toolkit.ModelError as error:
        print(error)
