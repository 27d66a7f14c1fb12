"""Convolutional networks that work on real pictures of the real world."""

__version__ = "0.1.0"
