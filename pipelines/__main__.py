"""The command line: `fieldsight APPLICATION ACTION`, and actions that belong to no application.

A public module of this folder is an application; its `ACTIONS` map a name to a settings
dataclass with a `run` method. Nothing heavy is imported before an action runs.
"""

from __future__ import annotations

import errno
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import fieldsight
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines import _memory
from fieldsight.pipelines._errors import CommandError


class Action(Protocol):
    """What the command line makes of its arguments."""

    def run(self) -> int:
        """Do it, and return the exit code."""


def applications() -> list[str]:
    """Names of the applications, which are this package's public modules."""
    package = importlib.import_module("fieldsight.pipelines")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if not name.startswith("_"))


def common_actions() -> Mapping[str, Callable[..., Action]]:
    """Actions that belong to no application."""
    from fieldsight.pipelines._commands import Describe, Kernels
    from fieldsight.pipelines._sync import Sync

    return {"describe": Describe, "kernels": Kernels, "sync": Sync}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A known mistake ends in one line on stderr and 2; `--debug` shows the trace as well.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    _memory.keep_freed()
    try:
        return _run(given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); Python would complain at exit.
        sys.stdout = None
        return 141
    except (DataError, CommandError) as error:
        return _told(error, str(error), debug)
    except OSError as error:
        if error.errno not in _KNOWN_TROUBLE:
            raise
        where = error.filename or "the disk"
        return _told(error, f"{where}: {_KNOWN_TROUBLE[error.errno]}", debug)


def _told(error: Exception, message: str, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    print(f"fieldsight: {' '.join(message.split())}", file=sys.stderr)
    return 2


_KNOWN_TROUBLE = {
    errno.ENOSPC: "no space is left there; what was there before is still whole",
    errno.EFBIG: "a file would be larger than is allowed there; what was there is still whole",
    errno.EDQUOT: "the quota is used up; what was there before is still whole",
    errno.EROFS: "it can't be written to: mounted read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "a file was needed, and this is a folder",
    errno.ENOTDIR: "a folder was needed on the way, and there is a file",
}


def _run(given: list[str]) -> int:
    first = given[0] if given else "--help"
    if first in ("--help", "-h"):
        print(_overview())
        return 0
    if first == "--version":
        print(f"fieldsight {fieldsight.__version__}")
        return 0
    if first in applications():
        module = importlib.import_module(f"fieldsight.pipelines.{first}")
        action = _parse(first, module.__doc__, module.ACTIONS, given[1:] or ["--help"])
    elif first in (common := common_actions()):
        action = _parse(None, None, common, given)
    else:
        known = ", ".join([*applications(), *common_actions()])
        raise CommandError(f"no such command: {first!r}. There are: {known}.")
    return action.run()


def _parse(
    application: str | None,
    description: str | None,
    actions: Mapping[str, Callable[..., Action]],
    arguments: list[str],
) -> Action:
    import tyro

    result: Any = tyro.extras.subcommand_cli_from_dict(
        dict(actions),
        prog="fieldsight" if application is None else f"fieldsight {application}",
        description=description,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return result


def _overview() -> str:
    lines = ["usage: fieldsight COMMAND [OPTIONS]", "", fieldsight.__doc__ or "", ""]
    lines.append("applications:")
    for name in applications():
        module = importlib.import_module(f"fieldsight.pipelines.{name}")
        lines.append(f"  {name:<14}{_first_line(module.__doc__)}")
        lines.append(f"  {'':<14}{' | '.join(module.ACTIONS)}")
    lines += ["", "for all of them:"]
    for name, action in common_actions().items():
        lines.append(f"  {name:<14}{_first_line(action.__doc__)}")
    lines += [
        "",
        "options: --version; --help, at every level; --debug shows the trace of an error.",
        "start with: fieldsight digits train",
    ]
    return "\n".join(lines)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
