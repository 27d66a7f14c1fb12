"""How a run's settings are kept and taken up again by `--resume`, in every application."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from fieldsight.pipelines import _tracking
from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.pipelines._run import Run

OWN = ("resume", "json")  # of a call, and not of the run


class Resumable(Protocol):
    """Settings of a training, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def resume(self) -> str | None:
        """The run to take up."""

    @property
    def json(self) -> bool:
        """Whether the figures are printed as JSON."""


Settings = TypeVar("Settings", bound=Resumable)


def logged(settings: Resumable) -> dict[str, Any]:
    """Settings as a run keeps them, paths as text."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if name not in OWN
    }


def take_up(given: Settings, application: str, paths: Sequence[str]) -> tuple[Run, Settings]:
    """A run that was stopped, and the settings it was started with.

    Args:
        given: the command's; `resume` names the run.
        application: whose run it must be.
        paths: settings that are paths.

    Raises:
        CommandError: if it is another application's, or other settings were given besides.
    """
    run = _tracking.resume_run(str(given.resume))
    if run.application != application:
        raise CommandError(
            f"{given.resume}: a run of {application} was needed, and not of {run.application}. "
            "Resume it with its own application."
        )
    kept = run.settings
    kept |= {name: Path(kept[name]) if kept.get(name) else None for name in paths}
    was = dataclasses.replace(given, **kept, resume=None)
    refuse_other_settings(given, was)
    return run, was


def refuse_other_settings(given: Resumable, was: Resumable) -> None:
    """A resumed run goes on as it began: what is asked for besides would be ignored."""
    for field in dataclasses.fields(given):
        value, before = getattr(given, field.name), getattr(was, field.name)
        if field.name not in OWN and value not in (field.default, before):
            raise CommandError(
                f"--resume goes on with the run's own settings, and there --"
                f"{field.name.replace('_', '-')} is {before}. Received: {value}. Leave it out, or "
                "start a new run."
            )


def refuse_seed(seed: int) -> None:
    """A seed that Keras can't take is told before anything is begun."""
    if not 0 <= seed < 2**31:
        raise CommandError(
            f"--seed: at least 0 and below 2,147,483,648 is needed. Received: {seed}."
        )
