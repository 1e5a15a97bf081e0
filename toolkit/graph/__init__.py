"""Live TensorFlow graphs: the only folder that imports TensorFlow."""
