"""Names of bands as a person gives them on the command line."""

from __future__ import annotations

from fieldsight.pipelines._errors import CommandError


def named(text: str | None) -> tuple[str, ...] | None:
    """The names in `--bands blue,green,red,nir`, in lower case and in this order (D-1).

    Args:
        text: what was given; None where nothing was.

    Returns:
        The names; None where nothing was given, and the reader has to know them.

    Raises:
        CommandError: if a name is empty or comes twice.

    Example:
        >>> named("Blue, green,red,NIR")
        ('blue', 'green', 'red', 'nir')
    """
    if text is None:
        return None
    names = tuple(name.strip().lower() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise CommandError(
            "--bands: a name for each band, each once, was needed, as blue,green,red,nir. "
            f"Received: {text}."
        )
    return names


def listed(text: str | None) -> tuple[str, ...] | None:
    """The names in `--forest "tree,dry forest"`, as they are given; None where nothing was."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())
