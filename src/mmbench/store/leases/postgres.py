"""Leases as rows of a PostgreSQL table."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mmbench.messages import Refusal
from mmbench.messages.refused import first_line
from mmbench.store.leases.owner import Owner

#: How libpq marks what a form must not show: passwords and secrets.
HIDDEN = b"*"
#: Leases of a sweep that have an owner, with the seconds of its silence.
HELD = "SELECT name, owner, extract(epoch FROM now() - beat) FROM mmbench_leases WHERE sweep = %s AND owner IS NOT NULL"


def check_address(url: str) -> None:
    """Refuse an address that records must not show, and one that nothing here can reach.

    Raises:
        ValueError: for an address with a password, one that is none, and if psycopg is missing.
    """
    try:
        import psycopg
    except ImportError as error:
        raise Refusal(
            "study.storage names PostgreSQL but psycopg is missing: pip install 'mmbench[postgres]'"
        ) from error
    try:
        read = psycopg.pq.Conninfo.parse(_of_libpq(url).encode())
    except psycopg.Error:  # what it says may quote a password
        raise Refusal(
            "study.storage is no address that libpq can read; write postgresql+psycopg://user@host/database, with "
            "special characters percent-encoded"
        ) from None
    if any(option.val is not None and option.dispchar == HIDDEN for option in read):
        raise Refusal(
            "study.storage holds a password, which the records of the sweep and whatever is bundled of them would "
            "show; leave it out and give it by PGPASSWORD, ~/.pgpass or, with PGSERVICE, a service file"
        )


def _of_libpq(url: str) -> str:
    """An address as libpq reads it, by rules of its own."""
    return url.replace("postgresql+psycopg:", "postgresql:")


@dataclass
class PostgresLeases:
    """Leases as rows of a PostgreSQL table, for many workers or a file system without atomic creation.

    Args:
        url: ``postgresql+psycopg://user@host/database``; records keep it, so it may hold no password.
        sweep: namespace of the leases: the identity of the sweep.
        timeout: seconds of silence after which a lease can be taken over, by the clock of the server.

    Raises:
        ValueError: if the server cannot be reached.
    """

    url: str
    sweep: str
    timeout: float = 120.0
    owner: Owner = field(default_factory=Owner.me)

    def __post_init__(self) -> None:
        import psycopg

        try:
            self._connect()
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS mmbench_leases (sweep text, name text, owner text, beat timestamptz, "
                "PRIMARY KEY (sweep, name))"
            )
        except psycopg.errors.UniqueViolation:
            pass  # another worker created the table in the same moment
        except psycopg.Error as error:
            raise Refusal("study.storage: PostgreSQL does not answer: {error}", error=first_line(error)) from error
        self._lock = threading.Lock()

    def _connect(self) -> None:
        import psycopg

        self._connection = psycopg.connect(_of_libpq(self.url), autocommit=True)

    def claim(self, name: str) -> bool:
        """Take a lease if it is free, or if its owner is gone or silent."""
        with self._lock:
            taken = self._rows(
                "INSERT INTO mmbench_leases AS l (sweep, name, owner, beat) VALUES (%s, %s, %s, now()) "
                "ON CONFLICT (sweep, name) DO UPDATE SET owner = excluded.owner, beat = now() "
                "WHERE l.owner IS NULL RETURNING 1",
                (self.sweep, name, self._mine),
            )
            if taken:
                return True
            holders = self._rows(f"{HELD} AND name = %s", (self.sweep, name))
            if not holders or not self._is_dead(*holders[0]):
                return False
            stolen = self._rows(
                "UPDATE mmbench_leases SET owner = %s, beat = now() WHERE sweep = %s AND name = %s AND owner = %s "
                "RETURNING 1",
                (self._mine, self.sweep, name, holders[0][1]),
            )
            return bool(stolen)

    def beat(self, name: str) -> bool:
        """Set the time of the last sign of life if the row is still ours; return whether it is."""
        with self._lock:
            beaten = self._rows(
                "UPDATE mmbench_leases SET beat = now() WHERE sweep = %s AND name = %s AND owner = %s RETURNING 1",
                (self.sweep, name, self._mine),
            )
        return bool(beaten)

    def release(self, name: str) -> None:
        """Remove the row if it is still ours."""
        with self._lock:
            self._rows(
                "DELETE FROM mmbench_leases WHERE sweep = %s AND name = %s AND owner = %s",
                (self.sweep, name, self._mine),
            )

    def living(self) -> list[str]:
        """Names of all leases that somebody holds."""
        with self._lock:
            rows = self._rows(HELD, (self.sweep,))
            return sorted(row[0] for row in rows if not self._is_dead(*row))

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    @property
    def _mine(self) -> str:
        return msgspec.json.encode(self.owner).decode()

    def _is_dead(self, name: str, owner: str, silence: float) -> bool:
        if silence < 0:  # the clock was set back: silence counts from now on
            self._rows(
                "UPDATE mmbench_leases SET beat = now() WHERE sweep = %s AND name = %s AND owner = %s",
                (self.sweep, name, owner),
            )
        return silence > self.timeout or msgspec.json.decode(owner, type=Owner).is_gone()

    def _rows(self, command: str, values: tuple[object, ...]) -> list[Any]:
        import psycopg

        try:
            try:
                cursor = self._connection.execute(command, values)
            except psycopg.OperationalError:  # the server was started anew, or what lies between forgot the connection
                self._connection.close()
                self._connect()
                cursor = self._connection.execute(command, values)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:  # no fault of what is being trained
            raise OSError(f"PostgreSQL does not answer: {first_line(error)}") from error
