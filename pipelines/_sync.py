"""`fieldsight sync`: send what runs have left on this machine to their tracking store."""

import sys
from dataclasses import dataclass
from pathlib import Path

from fieldsight.pipelines import _journal
from fieldsight.pipelines._run import StoreError

PATIENCE_S = 30  # for each answer of the store; nobody's training waits here


@dataclass(frozen=True, kw_only=True)
class Sync:
    """Send what runs have left on this machine to the tracking store.

    A run that is going on is left alone. One whose process died is marked KILLED; it can still
    be resumed.
    """

    to: str | None = None
    """Another tracking URI than the one a run was started for; it gets the whole run."""

    def run(self) -> int:
        """Send everything; 0 when nothing waits any more, 1 when a store doesn't answer."""
        root = _journal.runs_folder()
        folders = sorted(root.iterdir()) if root.is_dir() else []
        waiting = [folder for folder in folders if self.to or _journal.waits(folder)]
        if not waiting:
            sys.stdout.write("nothing waits to be sent\n")
            return 0
        from fieldsight.pipelines import _tracking

        with _tracking.patience(PATIENCE_S):
            return max([self._send(folder) for folder in waiting])

    def _send(self, folder: Path) -> int:
        from fieldsight.pipelines import _tracking

        try:
            sent, status = _tracking.send_waiting(folder, to=self.to)
        except BlockingIOError:
            sys.stdout.write(f"run {folder.name}: still going on, left alone\n")
            return 0
        except StoreError as error:
            _journal.say(f"run {folder.name} was not sent: {error}")
            return 1
        if status != "DONE":
            sys.stdout.write(f"run {folder.name} ({status}): {sent} records sent\n")
        return 0
