"""Files on disk to samples, results to files: numpy and the formats' libraries, no Keras."""
