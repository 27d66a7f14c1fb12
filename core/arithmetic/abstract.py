"""Models whose weights have shapes but no values, to be described and not to be run."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras


def abstract(build: Callable[[], Any]) -> Any:
    """Return a model whose weights are never drawn: no memory, and far less time.

    A VGG-19's 144 million weights take 0.6 GB and seconds to draw; what a network costs and sees
    follows from their shapes.

    Args:
        build: returns a model, or whatever is made of models; what it raises is raised here.

    Returns:
        What it returns. A weight has a shape and a dtype; to train, run or save such a model
        would draw placeholders in place of its weights, so don't.

    Example:
        >>> from fieldsight.core.architectures import mlp
        >>> abstract(lambda: mlp((1000, 1000, 3), units=(4096,))).count_params()
        12288045066
    """

    def run() -> Any:
        # In a stateless scope Keras puts off drawing weights, here for ever.
        with keras.StatelessScope(initialize_variables=False):
            return build()

    # Keras lists the weights that it owes, thread by thread, and draws them all at the end of any
    # later scope: in a thread of its own the list is forgotten with it.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(run).result()
