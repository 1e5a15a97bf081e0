"""What Keras's files say: true names, what is trained, and whose the optimizer's state is."""
