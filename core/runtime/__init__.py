"""The fastest way to run a network on this machine: Keras, OpenVINO or ONNX Runtime.

`predictor(model)` is called like a network, on arrays. With `runtime="auto"` the first real batch
decides: each runtime that is installed is given the network, must answer as Keras does, and is
timed; the quickest is kept, and remembered for the next time. OpenVINO and ONNX Runtime come with
the extra `fast` and need the TensorFlow backend; without them it is Keras, and nothing changes.

Both are made to send nothing; as they are installed, each reports its use to its maker.
"""

from fieldsight.core.runtime.predictor import RUNTIMES, Choice, Predictor, predictor

__all__ = ["RUNTIMES", "Choice", "Predictor", "predictor"]
