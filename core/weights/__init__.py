"""Published weights: read from Keras's files, adapted to channels and rank, with their pixels."""

from fieldsight.core.weights.adaptation import adapt_channels, inflate
from fieldsight.core.weights.preprocessing import with_preprocessing
from fieldsight.core.weights.published import load_published

__all__ = ["adapt_channels", "inflate", "load_published", "with_preprocessing"]
