"""Choices kept from one run to the next, in a small JSON file of the user's cache folder.

A key is a digest: the file names no model, no machine and no person. What can't be read or
written is forgotten, and never an error: the trial is then run again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

FORMAT = 1
MOST = 256  # choices kept, the latest ones
FILE = "runtimes.json"
PACKAGES = ("keras", "tensorflow", "jax", "openvino", "onnx", "onnxruntime", "tf2onnx")
# What changes how fast Keras itself is.
VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def folder() -> Path:
    """The user's cache folder for fieldsight, by the custom of the system; not made here."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or Path.home() / "AppData" / "Local", "fieldsight", "Cache")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fieldsight"
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named if Path(named).is_absolute() else Path.home() / ".cache", "fieldsight")


def key(model: keras.Model, **asked: Any) -> str | None:
    """A digest of all that a choice depends on, or None where a model can't be told from others.

    Weights are left out: they don't change how fast a runtime is, and whether it answers as Keras
    does is checked each time anyway.

    Args:
        model: by its configuration.
        asked: what else decides, as JSON has it.
    """
    try:
        facts = {
            "format": FORMAT,
            "model": _nameless(json.loads(model.to_json())),
            "asked": asked,
            "machine": _machine(),
            "versions": versions(),
            "variables": {name: os.environ.get(name) for name in VARIABLES},
        }
        text = json.dumps(facts, sort_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return None
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def versions() -> dict[str, str | None]:
    """The installed version of each package that takes part."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def recall(key: str, file: Path) -> str | None:
    """The runtime that was chosen before, or None."""
    found = _read(file).get(key)
    return found if isinstance(found, str) else None


def remember(key: str, runtime: str, file: Path) -> bool:
    """Note the choice; False where that can't be written.

    Written beside and renamed: a reader never sees half a file. Of two at the same moment the
    later one stays, and the other's choice is tried again next time.
    """
    kept = _read(file)
    kept.pop(key, None)
    kept[key] = runtime
    kept = dict(list(kept.items())[-MOST:])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as written:
                json.dump(kept, written, indent=1)
            Path(name).replace(file)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            return False
    except OSError:
        return False
    return True


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _nameless(config: Any) -> Any:
    """A configuration whose layers are numbered: Keras counts names on within a process."""
    numbers: dict[str, str] = {}

    def number(part: Any) -> None:
        if isinstance(part, dict):
            inner = part.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                numbers.setdefault(inner["name"], f"#{len(numbers)}")
            for value in part.values():
                number(value)
        elif isinstance(part, list):
            for value in part:
                number(value)

    def renamed(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: renamed(value) for key, value in part.items()}
        if isinstance(part, list):
            return [renamed(value) for value in part]
        return numbers.get(part, part) if isinstance(part, str) else part

    number(config)
    return renamed(config)


def _machine() -> list[str]:
    """The processor and the devices that Keras sees."""
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        processor = "\n".join(sorted(set(told)))
    return [platform.system(), platform.machine(), processor, *keras.distribution.list_devices()]
