"""Leases as files."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from mmbench.store.leases.owner import Owner


@dataclass
class FileLeases:
    """Leases as files made with ``O_EXCL`` in a shared folder.

    Args:
        folder: where the files lie.
        timeout: seconds of silence after which an owner on another machine counts as dead.
    """

    folder: Path
    timeout: float = 120.0
    owner: Owner = field(default_factory=Owner.me)

    def claim(self, name: str) -> bool:
        """Take a lease if it is free or its owner is dead."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._take(self._file(name), self._file(name).with_suffix(".deaths"))

    def _take(self, file: Path, deaths: Path | None = None) -> bool:
        """Make ``file`` or take it over from a dead owner; ``deaths`` notes the death.

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
            if deaths is not None:
                with deaths.open("a", encoding="utf-8") as noted:
                    noted.write("x")
            mine = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
            mine.write_bytes(self._claim())
            os.replace(mine, file)
            return True
        finally:
            grave.unlink(missing_ok=True)

    def beat(self, name: str) -> None:
        """Touch the file."""
        os.utime(self._file(name))

    def release(self, name: str) -> None:
        """Remove the file if it is still ours."""
        file = self._file(name)
        if self._read(file) == self.owner:
            file.unlink(missing_ok=True)

    def deaths(self, name: str) -> int:
        """How many owners of this lease died holding it."""
        try:
            return self._file(name).with_suffix(".deaths").stat().st_size
        except FileNotFoundError:
            return 0

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.lease"

    def _create(self, file: Path) -> bool:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(handle, self._claim())
        finally:
            os.close(handle)
        return True

    def _claim(self) -> bytes:
        return json.dumps(vars(self.owner)).encode()

    def _content(self, file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except OSError:
            return None

    def _read(self, file: Path) -> Owner | None:
        try:
            return Owner(**json.loads(self._content(file) or b""))
        except (ValueError, TypeError):
            return None  # gone, or its maker has not written it yet

    def _is_dead(self, file: Path) -> bool:
        owner = self._read(file)
        dead = None if owner is None else owner.is_dead()
        if dead is not None:
            return dead
        try:
            return time.time() - file.stat().st_mtime > self.timeout
        except FileNotFoundError:
            return False
