"""What an audit that was stopped has shown, so that the next one goes on from there.

It lies in the cache of whoever audits and never in the sweep, whose author could write it too.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mmbench import fingerprint, paths
from mmbench.audit.recorded import Recorded
from mmbench.scheduling.manifest import print_of


@dataclass(frozen=True)
class Progress:
    """Marks of what was computed again and is what the records say, one file each. What differs leaves none.

    Args:
        folder: where they lie; it need not exist.
    """

    folder: Path

    @classmethod
    def of(cls, root: str) -> Progress:
        """That of audits of the records with a root."""
        return cls(paths.audit_cache_dir(root))

    def holds(self, mark: str) -> bool:
        """Whether something was shown."""
        return (self.folder / mark).exists()

    def note(self, mark: str) -> None:
        """Note that something was shown; where nothing can be written, the next audit computes it once more."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / mark).touch()

    def forget(self) -> None:
        """Take all marks away: the audit has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def mark_of(recorded: Recorded, files: Iterable[Path], *besides: Any) -> str:
    """The mark of files of a cell; other bytes, data, code or versions have another one.

    Args:
        recorded: the cell.
        files: the files in its folder that an audit reads.
        besides: what else the result of the audit rests on, as JSON.
    """
    folder = recorded.store.folder
    held = {file.relative_to(folder).as_posix(): fingerprint.of_file(file) for file in files if file.is_file()}
    here = msgspec.to_builtins(print_of(recorded.job.dataset()))
    return fingerprint.of_json([recorded.cell.name, recorded.task.versions_hash, here, held, *besides])
