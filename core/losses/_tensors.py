"""What the losses share: float32, masks, and sums of each example."""

from __future__ import annotations

from typing import Any, Literal

from keras import ops

Per = Literal["positive", "batch_positive", "element"]
KINDS_OF_PER = ("positive", "batch_positive", "element")


def held(target: Any, logits: Any, mask: Any) -> tuple[Any, Any, Any]:
    """Both in float32 and of one shape, with 0 wherever the mask says that nothing counts.

    In float32 also where the network computes in half of it: exp and log need the digits. An
    element that doesn't count is emptied before the loss, not after: whatever stands there, NaN
    too, its gradient is 0.
    """
    target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
    if len(target.shape) == len(logits.shape) - 1 and logits.shape[-1] == 1:
        target = ops.expand_dims(target, -1)
        mask = None if mask is None else ops.expand_dims(mask, -1)
    refuse_unlike(target.shape, logits.shape)
    counts = target >= 0
    if mask is not None:
        # Not broadcast by its shape, which isn't known while a batch has no size yet.
        counts = ops.logical_and(counts, ops.cast(mask, "bool"))
    return ops.where(counts, target, 0.0), ops.where(counts, logits, 0.0), counts


def refuse_unlike(target: tuple[int | None, ...], logits: tuple[int | None, ...]) -> None:
    """Shapes that would broadcast instead of fitting: a loss of everything against everything."""
    is_like = len(target) == len(logits) and all(
        None in pair or pair[0] == pair[1] for pair in zip(target, logits, strict=True)
    )
    if not is_like:
        raise ValueError(
            f"y_true and y_pred must have one shape. Received: {tuple(target)} and {tuple(logits)}."
        )


def flat(values: Any) -> Any:
    """`(n, elements)`."""
    return ops.reshape(values, (ops.shape(values)[0], -1))


def hardest(losses: Any, count: int | None) -> tuple[Any, Any]:
    """Sum of the `count` largest of each row of `(n, elements)`, and how many are above 0."""
    if count is not None:
        size = losses.shape[1]
        most = min(count, size) if size is not None else ops.minimum(count, ops.shape(losses)[1])
        losses = ops.top_k(losses, most, sorted=False)[0]
    above = ops.sum(ops.cast(losses > 0, "float32"), axis=1)
    return ops.sum(losses, axis=1), above


def shared_out(positive: Any, negative: Any, is_positive: Any, per: Per, count: int | None) -> Any:
    """The loss of each example `(n,)` from its elements' `(n, ...)`, divided by what `per` says.

    Args:
        positive: losses of positive elements, 0 elsewhere.
        negative: losses of negative elements, 0 elsewhere.
        is_positive: which are.
        per: what the sum is divided by.
        count: how many of the hardest negatives of each example are kept; None for all.
    """
    positives = ops.sum(flat(ops.cast(is_positive, "float32")), axis=1)
    hard, kept = hardest(flat(negative), count)
    total = ops.sum(flat(positive), axis=1) + hard
    if per == "element":
        return total / ops.maximum(positives + kept, 1.0)
    if per == "batch_positive":
        # Keras takes the mean over the batch: times its size, that is the sum over all positives.
        size = ops.cast(ops.shape(total)[0], "float32")
        return total * size / ops.maximum(ops.sum(positives), 1.0)
    return total / ops.maximum(positives, 1.0)


def refuse_settings(per: str, hard_negatives: int | None) -> None:
    """Settings that no loss has."""
    if per not in KINDS_OF_PER:
        raise ValueError(f"per must be one of {', '.join(KINDS_OF_PER)}. Received: {per!r}.")
    if hard_negatives is not None and hard_negatives < 1:
        raise ValueError(
            f"hard_negatives must be at least 1, or None for all. Received: {hard_negatives}."
        )
