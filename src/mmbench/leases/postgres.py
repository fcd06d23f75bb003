"""Leases as rows of a PostgreSQL table."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field

from mmbench.leases.owner import Owner
from mmbench.messages import Refusal


@dataclass
class PostgresLeases:
    """Leases as rows of a PostgreSQL table, for many workers or a file system without atomic creation.

    Args:
        url: ``postgresql+psycopg://user:password@host/database``.
        sweep: namespace of the leases.
        timeout: seconds of silence after which an owner counts as dead.

    Raises:
        ValueError: if psycopg is missing or the server cannot be reached.
    """

    url: str
    sweep: str
    timeout: float = 120.0
    owner: Owner = field(default_factory=Owner.me)

    def __post_init__(self) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise Refusal(
                "study.storage names PostgreSQL but psycopg is missing: pip install mmbench[postgres]"
            ) from error
        try:
            self._connection = psycopg.connect(self.url.replace("postgresql+psycopg:", "postgresql:"), autocommit=True)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS mmbench_leases (sweep text, name text, owner text, beat timestamptz, "
                "deaths int NOT NULL DEFAULT 0, PRIMARY KEY (sweep, name))"
            )
        except psycopg.errors.UniqueViolation:
            pass  # another worker created the table in the same moment
        except psycopg.Error as error:
            raise Refusal(
                "study.storage: PostgreSQL does not answer: {error}", error=str(error).splitlines()[0]
            ) from error
        self._lock = threading.Lock()

    def claim(self, name: str) -> bool:
        """Take a lease if it is free or its owner is dead."""
        mine = json.dumps(vars(self.owner))
        with self._lock:
            taken = self._connection.execute(
                "INSERT INTO mmbench_leases AS l (sweep, name, owner, beat) VALUES (%s, %s, %s, now()) "
                "ON CONFLICT (sweep, name) DO UPDATE SET owner = excluded.owner, beat = now() "
                "WHERE l.owner IS NULL RETURNING 1",
                (self.sweep, name, mine),
            ).fetchone()
            if taken:
                return True
            row = self._connection.execute(
                "SELECT owner, beat < now() - make_interval(secs => %s) FROM mmbench_leases "
                "WHERE sweep = %s AND name = %s",
                (self.timeout, self.sweep, name),
            ).fetchone()
            if row is None or row[0] is None:
                return False
            dead = Owner(**json.loads(row[0])).is_dead()
            if not (row[1] if dead is None else dead):
                return False
            stolen = self._connection.execute(
                "UPDATE mmbench_leases SET owner = %s, beat = now(), deaths = deaths + 1 "
                "WHERE sweep = %s AND name = %s AND owner = %s RETURNING 1",
                (mine, self.sweep, name, row[0]),
            ).fetchone()
            return stolen is not None

    def beat(self, name: str) -> None:
        """Set the time of the last sign of life."""
        with self._lock:
            self._connection.execute(
                "UPDATE mmbench_leases SET beat = now() WHERE sweep = %s AND name = %s AND owner = %s",
                (self.sweep, name, json.dumps(vars(self.owner))),
            )

    def release(self, name: str) -> None:
        """Free the row if it is still ours; the count of deaths stays."""
        with self._lock:
            self._connection.execute(
                "UPDATE mmbench_leases SET owner = NULL WHERE sweep = %s AND name = %s AND owner = %s",
                (self.sweep, name, json.dumps(vars(self.owner))),
            )

    def deaths(self, name: str) -> int:
        """How many owners of this lease died holding it."""
        with self._lock:
            row = self._connection.execute(
                "SELECT deaths FROM mmbench_leases WHERE sweep = %s AND name = %s", (self.sweep, name)
            ).fetchone()
        return 0 if row is None else int(row[0])
