"""``python -m mmbench audit DIR``: were the trainings of a sweep what its records say?"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from mmbench.cli.errors import printable, reading
from mmbench.cli.words import Parser, add_allow, take_language
from mmbench.messages import Refusal


def main(argv: Sequence[str]) -> None:
    """Audit a sweep; exit code 1 if something is not what it should be."""
    parser = Parser(
        prog="python -m mmbench audit",
        description="Check the records of a sweep, rank its stored models again, and train some of them again.",
    )
    parser.add_argument("sweep", type=Path, help="folder of the sweep, for example multirun/first")
    parser.add_argument("--retrain", type=int, default=0, metavar="K", help="trainings to run again from their seeds")
    parser.add_argument("--seed", type=int, help="your own number, which they are drawn with; fresh by default")
    parser.add_argument("--plan-hash", default="", metavar="H", help="hash of the plan that you kept")
    parser.add_argument("--root", default="", metavar="H", help="root of the records that you kept")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data sets, where they lie elsewhere")
    add_allow(parser)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes, by default one per core")
    translator, words = take_language(argv)
    asked = parser.parse_args([word for word in words if word != "debug=true"])
    for name, value, least in (("--retrain", asked.retrain, 0), ("--workers", asked.workers, 1)):
        if value < least:
            raise Refusal(
                "{key}={value} must be a whole number of at least {least}", key=name, value=value, least=least
            )
    from mmbench.audit.levels import Asked, audit, check_kept_elsewhere, refuse_short
    from mmbench.audit.recorded import Sources
    from mmbench.scheduling.trust import Trust

    for kept, name in ((asked.plan_hash, "--plan-hash"), (asked.root, "--root")):
        refuse_short(kept, name)
    number = secrets.randbelow(10**9) if asked.seed is None else asked.seed
    sources = Sources(Trust.of(asked.allow), asked.data)
    with reading(asked.sweep):
        found = check_kept_elsewhere(asked.sweep, asked.plan_hash, asked.root)
        held = audit(
            asked.sweep,
            Asked(asked.retrain, number, asked.workers),
            sources,
            lambda said: print(printable(translator(said)), flush=True),
        )
    for finding in [*found, *held.findings]:
        print(printable(f"{finding.file}: {finding.field}: {translator(finding.reason)}"))
    print(translator(held.words))
    if found or held.findings:
        raise SystemExit(1)
