"""HDF5: the toolkit's own layout, Keras's, and plain datasets."""
