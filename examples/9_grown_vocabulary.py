"""A vocabulary that has grown: the old words keep their embeddings, the new ones start fresh."""

import tempfile

import numpy as np
import tensorflow as tf

import toolkit

v1 = tf.compat.v1


def build(num_words):
    return v1.get_variable("words/embeddings", [num_words, 3], initializer=v1.ones_initializer())


with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        embeddings = build(4)
        session.run(embeddings.assign(np.arange(12).reshape(4, 3)))
        toolkit.save(session, f"{folder}/four-words")

    with tf.Graph().as_default(), v1.Session() as session:
        embeddings = build(6)
        plan = toolkit.plan_restore(f"{folder}/four-words", on_shape="overlap")
        print(plan.explain("words/embeddings").replace(folder, "…"))
        plan.apply(session)
        print(session.run(embeddings))
