"""Saved models: one `.keras` file with its card inside, written whole or not at all."""

import contextlib
import dataclasses
import errno
import json
import os
import re
import tempfile
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fieldsight.pipelines import _environment
from fieldsight.pipelines._errors import CommandError

CARD = "card.json"
PARTS = "parts"  # the folder in the file of a model's other networks
LARGEST_TEXT = 64 * 2**20  # bytes of config.json or card.json: more than this is no model of ours
LARGEST_PART = 2**30  # bytes of a part
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _code() -> str | None:
    return _environment.git_state()[0]


def _own_version() -> str:
    return _environment.version("fieldsight") or "unknown"


def model_name(application: str, data: str) -> str:
    """`fieldsight-<application>-<data>`, in characters that MLflow's registry takes.

    Args:
        application: that made the model.
        data: what it was trained on; a scene may be called `RGB.byte`.
    """
    plain = re.sub(r"[^\w-]+", "_", data).strip("_-")[:100] or "data"
    return f"fieldsight-{application}-{plain}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model is, what it was trained on, and what it may be used for (C-10).

    Attributes:
        name: the model's name, as it is registered: `fieldsight-digits-mnist`.
        application: the application that made it: `digits`.
        architecture: the function in `core.architectures` that built it, with its variant.
        data: what it was trained on: `uci`, `mnist`, a folder's name.
        simulated: whether that data was made by a simulator.
        data_fingerprint: of the training data.
        split_fingerprint: of the split into train, val and test.
        intended_use: what it is for.
        limits: what it is not for, and where it is known to fail.
        figures: measured scores by name, `test_accuracy` and its interval among them.
        input: what goes in, in words; shapes and types are in `signature`.
        output: what comes out, in words.
        signature: shape and dtype of input and output; filled in by `save_model`.
        created: UTC, ISO 8601.
        version: fieldsight's version.
        git_commit: of the code it was made with; None where fieldsight was installed.
        run_id: the tracked run that made it, by its local id.
        facts: whatever else an application must know to use it (spacing, bands, thresholds).
    """

    name: str
    application: str
    architecture: str
    data: str
    simulated: bool
    data_fingerprint: str
    split_fingerprint: str
    intended_use: str
    limits: str
    figures: Mapping[str, float] = field(default_factory=dict)
    input: str = ""
    output: str = ""
    signature: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=_now)
    version: str = field(default_factory=_own_version)
    git_commit: str | None = field(default_factory=_code)
    run_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The card as the text that stands in the file."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @property
    def kind(self) -> Literal["simulated", "real"]:
        """What kind of data it was trained on."""
        return "simulated" if self.simulated else "real"


@dataclass(frozen=True)
class ModelFile:
    """A model that was found: the file, its card, and where it is registered, if it is.

    Attributes:
        path: the `.keras` file on this machine.
        card: its card.
        name: its registered name, or the file's.
        version: its registered version.
        run_id: the MLflow run that made it, or the local one.
    """

    path: Path
    card: Card
    name: str
    version: str | None = None
    run_id: str | None = None

    @property
    def title(self) -> str:
        """The model, its run and its data in a few words, for every output (C-10)."""
        version = f" v{self.version}" if self.version else ""
        run = f"run {self.run_id[:8]}, " if self.run_id else ""
        return f"{self.name}{version} ({run}trained on {self.card.data}, {self.card.kind})"


def save_model(
    model: Any, path: str | Path, card: Card, parts: Mapping[str, Any] | None = None
) -> Card:
    """Save a model with its card as one `.keras` file.

    It is written beside its place and renamed when it is whole and on the disk: until then, and
    whatever fails, the file that stood there stays.

    Args:
        model: a built functional Keras model of one input and one output.
        path: where; must end in `.keras`.
        card: its card; the signature is filled in from the model.
        parts: further networks that belong to it, by name, which is a word in lower case; each
            stands in the file as a `.keras` file of its own. Whoever loads the file as a plain
            Keras model gets `model`.

    Returns:
        The card as it was written.

    Raises:
        CommandError: if the disk is full or the folder can't be written to.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise CommandError(f"a model file ends in .keras. Received: {path.name}.")
    card = dataclasses.replace(card, signature=_signature(model))
    partial = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(partial)
        with zipfile.ZipFile(partial, "a", compression=zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(CARD, card.to_json())
            for name, part in (parts or {}).items():
                archive.writestr(_member_of(name), _as_bytes(part))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise CommandError(_not_written(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return card


def read_card(path: str | Path) -> Card:
    """The card of a saved model, without loading the model.

    Raises:
        CommandError: if the file is not there, is no model, or has no card.
    """
    return _read(Path(path))[0]


def load_model(path: str | Path) -> Any:
    """Load a saved model, running no code that it brings along.

    Args:
        path: what `save_model` wrote.

    Returns:
        The Keras model, uncompiled.

    Raises:
        CommandError: if the file is no model of ours, is damaged, or asks to run code.
    """
    path = Path(path)
    _read(path)
    return _loaded(path, path)


def _loaded(file: Path, path: Path) -> Any:
    """The network in a file; `path` is what its user calls it."""
    import keras

    import fieldsight.core.layers  # noqa: F401  registers the layers that the file may name

    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # a hostile file may fail in any way; none of them is a crash
        raise CommandError(_not_loaded(path, error)) from error


def load_part(path: str | Path, name: str) -> Any:
    """Load a network that was saved along with a model, running no code that it brings along.

    Args:
        path: what `save_model` wrote.
        name: of the part.

    Returns:
        The Keras model, uncompiled.

    Raises:
        CommandError: if the file is no model of ours, has no such part, is damaged, or asks to
            run code.
    """
    path = Path(path)
    _read(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "part.keras")
        try:
            with zipfile.ZipFile(path) as archive:
                file.write_bytes(_member(archive, _member_of(name), LARGEST_PART))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise CommandError(
                f"a model with a part {name} was needed. Received: {path}, which has none that "
                "can be read. Train one anew."
            ) from error
        return _loaded(file, path)


def _member_of(name: str) -> str:
    if not re.fullmatch("[a-z]+", name):
        raise ValueError(f"a part's name is a word in lower case. Received: {name!r}.")
    return f"{PARTS}/{name}.keras"


def _as_bytes(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "part.keras")
        model.save(file)
        return file.read_bytes()


def _read(path: Path) -> tuple[Card, dict[str, Any]]:
    """Check a file as far as that goes without Keras; return its card and its config."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(_member(archive, "config.json"))
            fields = json.loads(_member(archive, CARD))
        known = {item.name for item in dataclasses.fields(Card)}
        return Card(**{key: value for key, value in fields.items() if key in known}), config
    except FileNotFoundError:
        reason = "there is no such file"
    except IsADirectoryError:
        reason = "that is a folder"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except zipfile.BadZipFile:
        reason = "that is no .keras file, or a damaged one"
    except KeyError as error:
        reason = f"{error.args[0]}: fieldsight writes its card into a model when it trains one"
    except (ValueError, TypeError, AttributeError, RuntimeError, NotImplementedError):
        reason = "its card or its configuration can't be read"
    raise CommandError(f"a model saved by fieldsight was needed. Received: {path} ({reason}).")


def _member(archive: zipfile.ZipFile, name: str, largest: int = LARGEST_TEXT) -> bytes:
    with archive.open(name) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(name)
    return content


def _signature(model: Any) -> dict[str, Any]:
    """Shapes (-1 for the batch and whatever else is free) and types of a model's two ends."""
    (inputs,), (outputs,) = model.inputs, model.outputs
    return {
        end: {
            "shape": [-1 if size is None else size for size in tensor.shape],
            "dtype": tensor.dtype,
        }
        for end, tensor in (("input", inputs), ("output", outputs))
    }


def _not_written(path: Path, error: OSError) -> str:
    kept = "; the file that was there is unchanged" if path.exists() else ""
    if error.errno in NO_SPACE or "errno = 28" in str(error):
        return f"no space left to write the model {path}{kept}. Free some, or choose another disk."
    reason = error.strerror or str(error).splitlines()[0]
    return f"the model {path} can't be written ({reason}){kept}. Choose another folder."


def _not_loaded(path: Path, error: Exception) -> str:
    text = str(error)
    if "safe_mode" in text or "unsafe" in text.lower():
        why = "it asks to run code of its own when it is loaded, which is refused"
    else:
        lines = text.strip().splitlines()
        why = lines[0][:200] if lines else type(error).__name__
    return f"a model saved by fieldsight was needed. Received: {path} ({why})."
