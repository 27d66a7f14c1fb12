"""Keras's legacy HDF5 weights, keyed by layer name, as untrusted files: nothing in them is run."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Weight's name to its dataset, in the layer's order.
Weights = Mapping[str, Any]


@contextlib.contextmanager
def opened(file: str | Path) -> Iterator[dict[str, Weights]]:
    """The layers of a file that have weights; the weights are read later, by `values`.

    The layout: the root, or the group `model_weights` of a whole saved model, lists its groups in
    the attribute `layer_names`, and each group its datasets in `weight_names`; a long list goes
    on in `layer_names0`, `layer_names1`. Refused are links out of the file or to another place
    in it, data kept in other files, and anything but numbers of 16 to 64 bits with a point.

    Args:
        file: path of the file.

    Yields:
        Layer name to weight name to dataset, both in the file's order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another layout, is broken or isn't harmless.
    """
    import h5py  # type: ignore[import-untyped]  # Keras reads its own by it

    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"a file of weights is needed. Received: {path}")
    try:
        archive = h5py.File(path, "r")
    except OSError as error:
        raise _unfit(path, f"it is no HDF5 file or a part of one ({error})") from None
    with archive:
        try:
            found = _layers(archive, path)
        except (KeyError, OSError, RuntimeError, TypeError) as error:  # what a broken file makes
            raise _unfit(path, f"it is broken ({error})") from error
        yield found


def values(dataset: Any) -> NDArray[np.float32]:
    """A weight's numbers.

    Raises:
        ValueError: if they can't be read, or one is infinite or none.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            numbers = np.asarray(dataset[()], "float32")
    except (OSError, RuntimeError) as error:
        raise ValueError(f"weight {dataset.name} is broken ({error})") from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"weight {dataset.name} holds numbers that are infinite or none")
    return numbers


def _layers(archive: Any, path: Path) -> dict[str, Weights]:
    root = archive
    names = _listed(root, "layer_names", path)
    if names is None and "model_weights" in archive:
        root = _member(archive, "model_weights", path)
        names = _listed(root, "layer_names", path)
    if names is None:
        raise _unfit(
            path,
            "it has no list `layer_names`; a `.weights.h5` file of Keras 3 is read by "
            "`model.load_weights`",
        )
    found: dict[str, Weights] = {}
    for layer in names:
        group = _member(root, layer, path)
        weights = _listed(group, "weight_names", path) or []
        if weights:
            found[layer] = {name: _dataset(group, name, path) for name in weights}
    return found


def _listed(group: Any, attribute: str, path: Path) -> list[str] | None:
    if attribute in group.attrs:
        keys = [attribute]
    else:
        keys = []
        while f"{attribute}{len(keys)}" in group.attrs:
            keys.append(f"{attribute}{len(keys)}")
    if not keys:
        return None
    names = []
    for item in (item for key in keys for item in np.ravel(group.attrs[key])):
        if isinstance(item, bytes):
            names.append(item.decode("utf-8", "replace"))
        elif isinstance(item, str):
            names.append(str(item))
        else:
            raise _unfit(path, f"`{attribute}` of {group.name} doesn't list names")
    if len(set(names)) < len(names):
        raise _unfit(path, f"`{attribute}` of {group.name} lists a name twice")
    return names


def _member(group: Any, name: str, path: Path) -> Any:
    import h5py

    member = group
    for part in name.split("/"):
        # A name that begins with "/" or holds ".." leads nowhere: neither is a member's name.
        if not part or part == "." or not isinstance(member, h5py.Group):
            raise _unfit(path, f"{group.name} has no member {name!r}")
        link = member.get(part, getlink=True)
        if link is None:
            raise _unfit(path, f"{group.name} has no member {name!r}")
        if not isinstance(link, h5py.HardLink):
            raise _unfit(path, f"{name!r} is a link, and may lead out of the file")
        member = member[part]
    return member


def _dataset(group: Any, name: str, path: Path) -> Any:
    import h5py

    dataset = _member(group, name, path)
    if not isinstance(dataset, h5py.Dataset):
        raise _unfit(path, f"{name!r} holds no numbers")
    if dataset.external or dataset.is_virtual:
        raise _unfit(path, f"the numbers of {name!r} are said to be in other files")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8 or dataset.shape is None:
        raise _unfit(path, f"{name!r} must be of floating point. Received: {dataset.dtype}")
    return dataset


def _unfit(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"a file of Keras's legacy HDF5 weights is needed. Received: {path.name}; {reason}."
    )
