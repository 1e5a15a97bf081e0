"""Model functions to be named on a command line: good ones and bad ones."""

from tests.tensorflow import tf
from toolkit.graph.models import perceptron

v1 = tf.compat.v1
not_a_function = 3


def small():
    print("building")  # a model function may print; it must not mix with the command's output
    perceptron(4, (3,), 2, average=0.9)


def larger_head():
    perceptron(4, (3,), 5, average=0.9)


def dependent():
    first = v1.get_variable("z/first", [2], initializer=v1.random_normal_initializer())
    v1.get_variable("a/second", initializer=lambda: first.read_value() + 1)


def raises():
    raise RuntimeError("no\ndata today")


def nothing():
    pass


def keras():
    tf.keras.Sequential([tf.keras.Input([2]), tf.keras.layers.Dense(1)])


def takes_arguments(width):
    perceptron(width)
