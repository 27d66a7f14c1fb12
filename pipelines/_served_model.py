"""What MLflow runs to serve a saved model: the model's code, instead of a pickle of it.

MLflow copies this file beside the `.keras` file and executes it on loading, so it stands alone
(and is the one file besides `_tracking` that imports MLflow).
"""

from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.models import set_model


class KerasFile(mlflow.pyfunc.PythonModel):
    """A `.keras` file that answers arrays."""

    def load_context(self, context: Any) -> None:
        """Load the model; it may run no code of its own."""
        import keras

        import fieldsight.core.layers  # noqa: F401  registers the layers that the file may name

        self.model = keras.saving.load_model(
            context.artifacts["model"], compile=False, safe_mode=True
        )

    # The plain `ndarray` matters: MLflow warns of no hint and takes any other for a schema.
    def predict(
        self,
        context: Any,
        model_input: np.ndarray,
        params: Any = None,
    ) -> Any:
        """Answer a batch of raw input, as the signature has it."""
        return self.model.predict(model_input, verbose=0)


set_model(KerasFile())
