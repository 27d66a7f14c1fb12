"""Layers, architectures and arithmetic of convolutional networks, on any Keras backend."""
