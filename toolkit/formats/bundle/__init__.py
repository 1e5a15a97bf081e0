"""The bytes of TensorFlow's own checkpoint formats, without TensorFlow."""
