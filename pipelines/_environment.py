"""What a run was made with: packages, devices, code. Nothing that names a person or a machine."""

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata

from fieldsight.pipelines._journal import checkout

PACKAGES = ("fieldsight", "keras", "tensorflow", "jax", "numpy", "scipy", "mlflow")


def version(package: str) -> str | None:
    """The installed version of a package, without importing it; None if it isn't there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def packages() -> dict[str, str]:
    """The versions of the packages that decide a result."""
    return {name: found for name in PACKAGES if (found := version(name)) is not None}


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit of the checkout that fieldsight runs from, and whether it differs from it.

    An installed fieldsight has neither: the repository around the current folder or around a
    virtual environment is somebody else's.
    """
    root = checkout()
    if root is None or not (root / ".git").exists():
        return None, None
    commit = _git(str(root), "rev-parse", "HEAD")
    changes = _git(str(root), "status", "--porcelain")
    return commit, None if changes is None else bool(changes)


def _git(root: str, *arguments: str) -> str | None:
    # A hook or another tool may point git at a repository of its own by these variables.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", root, *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def tags() -> dict[str, str]:
    """What can be said of the environment at once, as a run's tags."""
    commit, dirty = git_state()
    found = {f"version.{name}": number for name, number in packages().items()}
    found["python"] = platform.python_version()
    # No host name and no user name: a run may be shown to anybody.
    found["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    found["git_commit"] = commit or "unknown"
    found["git_dirty"] = "unknown" if dirty is None else str(dirty).lower()
    return found


def is_imported(package: str) -> bool:
    """Whether a package has been imported in this process, wholly."""
    module = sys.modules.get(package)
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def device_tags() -> dict[str, str]:
    """The backend and its devices; only once Keras is imported and has begun to work."""
    import keras

    devices = [str(name) for name in keras.distribution.list_devices()]
    names = ", ".join(dict.fromkeys(_accelerators())) or _processor()
    return {"backend": keras.backend.backend(), "devices": f"{', '.join(devices)} ({names})"}


def _accelerators() -> list[str]:
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except Exception:  # noqa: BLE001  no driver, no device, no library: then there is none
        return []


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
