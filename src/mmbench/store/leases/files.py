"""Leases as files."""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mmbench.store.files import naming
from mmbench.store.leases.owner import Owner


@dataclass
class FileLeases:
    """Leases as files made with ``O_EXCL`` in a shared folder; a sign of life sets the time of the file.

    Args:
        folder: where the files lie.
        timeout: seconds of silence after which a lease can be taken over, by the clock of the file system.
    """

    folder: Path
    timeout: float = 120.0
    owner: Owner = field(default_factory=Owner.me)

    def claim(self, name: str) -> bool:
        """Take a lease if it is free, or if its owner is gone or silent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._take(self._file(name))

    def _take(self, file: Path) -> bool:
        """Make ``file`` or take it over from an owner who is gone.

        Several workers may see the same dead owner, and a slow one may see it when another has long taken over. So who
        takes over holds the grave of exactly that claim, which is a lease itself, and looks again.
        """
        if self._create(file):
            return True
        claim = self._content(file)
        if claim is None or not self._is_dead(file):
            return False
        grave = file.with_name(f"{hashlib.sha256(file.name.encode() + claim).hexdigest()}.dead")
        if not self._take(grave):
            return False
        try:
            if self._content(file) != claim:
                return False
            mine = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
            mine.write_bytes(self._claim())
            os.replace(mine, file)
            return True
        finally:
            grave.unlink(missing_ok=True)

    def beat(self, name: str) -> bool:
        """Touch the file if it is still ours; return whether it is."""
        file = self._file(name)
        try:
            if self._owner(file.read_bytes()) != self.owner:
                return False
            os.utime(file)
        except FileNotFoundError:
            return False
        return True

    def release(self, name: str) -> None:
        """Remove the file if it is still ours."""
        file = self._file(name)
        if self._owner(self._content(file)) == self.owner:
            file.unlink(missing_ok=True)

    def living(self) -> list[str]:
        """Names of all leases that somebody holds."""
        return sorted(file.stem for file in self.folder.glob("*.lease") if not self._is_dead(file))

    def close(self) -> None:
        """Nothing stays open."""

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.lease"

    def _create(self, file: Path) -> bool:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            with naming(file):
                os.write(handle, self._claim())
        finally:
            os.close(handle)
        return True

    def _claim(self) -> bytes:
        return msgspec.json.encode(self.owner)

    def _content(self, file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except OSError:
            return None

    def _owner(self, claim: bytes | None) -> Owner | None:
        try:
            return msgspec.json.decode(claim or b"", type=Owner)
        except msgspec.MsgspecError:
            return None  # gone, or its maker has not written it yet

    def _is_dead(self, file: Path) -> bool:
        owner = self._owner(self._content(file))
        if owner is not None and owner.is_gone():
            return True
        try:
            beat = file.stat().st_mtime
        except FileNotFoundError:
            return False
        # Both times are those that the file system gives a file which is touched: no clock of a machine takes part.
        with tempfile.TemporaryFile(dir=self.folder) as clock:
            os.utime(clock.fileno())
            now = os.fstat(clock.fileno()).st_mtime
        if beat <= now:
            return now - beat > self.timeout
        try:
            os.utime(file)  # the clock was set back: silence counts from now on
        except OSError:
            return True  # of another user, who could not be told from a dead one for as long as the clock lags
        return False
