"""``python -m mmbench bundle SWEEP [ARCHIVE]`` and ``python -m mmbench verify ARCHIVE``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmbench.cli.audit import add_audit, how_far, printer
from mmbench.cli.errors import printable
from mmbench.cli.words import Parser, add_allow, take_language, tell_loading
from mmbench.messages import Message, Refusal
from mmbench.messages.commands import command_line
from mmbench.messages.refused import reading

#: How the output says what a check found.
FOUND = {True: Message("same"), False: Message("DIFFERS"), None: Message("not checked")}


def bundle(argv: Sequence[str]) -> None:
    """Pack a sweep into one archive."""
    translator, argv = take_language(argv)
    parser = Parser(
        prog="python -m mmbench bundle", description=translator(Message("A sweep as one archive to check."))
    )
    parser.add_argument("sweep", type=Path, help=translator(Message("folder of the sweep, for example multirun/first")))
    parser.add_argument(
        "archive",
        type=Path,
        nargs="?",
        help=translator(Message("archive to write, by default SWEEP.zip beside it")),
    )
    parser.add_argument(
        "--with-titles",
        action="store_true",
        help=translator(Message("the page of the decision shows titles and pictures of items (default: numbers)")),
    )
    add_allow(parser, translator)
    asked = parser.parse_args(argv)
    from mmbench.cli.folders import check_file, check_writable
    from mmbench.paths import report_dir
    from mmbench.report.archive import pack
    from mmbench.report.reading import check_sweep
    from mmbench.scheduling.trust import Trust

    trust = Trust.of(asked.allow)
    sweep = asked.sweep.resolve()
    target = asked.archive or sweep.with_name(f"{sweep.name}.zip")
    if target.resolve().is_relative_to(sweep):
        raise Refusal("{target} would lie inside the sweep that it packs; name another place", target=target)
    check_file(target, "ARCHIVE")
    with reading(asked.sweep):
        check_sweep(asked.sweep, trust)
        check_writable(report_dir(asked.sweep))  # which is written again, wherever the archive is to lie
        packed = pack(asked.sweep, target, trust, with_titles=asked.with_titles)
    check = command_line(["verify", str(target)])
    said = Message("{n} files packed into {target}; {command} checks it", packed.files, target=target, command=check)
    print(translator(said))
    if packed.left_out:
        print(
            translator(
                Message.counted(
                    "{n} file of the report was left out, which no command writes",
                    "{n} files of the report were left out, which no command writes",
                    packed.left_out,
                )
            )
        )


def verify(argv: Sequence[str]) -> None:
    """Check an archive; exit code 1 if a file is not what its records give, or its records are not what they should be.

    An audit that its author kept counts for nothing here.
    """
    translator, argv = take_language(argv)
    parser = Parser(
        prog="python -m mmbench verify",
        description=translator(Message("Compute every table of an archive again from its records.")),
    )
    parser.add_argument("archive", type=Path, help=translator(Message("what python -m mmbench bundle wrote")))
    add_allow(parser, translator)
    add_audit(parser, translator)
    asked = parser.parse_args(argv)
    tell_loading(translator)
    how = how_far(asked)
    from mmbench.audit.levels import audit
    from mmbench.audit.recorded import Sources, needs_data
    from mmbench.audit.standing import Standing
    from mmbench.decision.record import holds
    from mmbench.report.verification import verify as check
    from mmbench.scheduling.trust import Trust

    def admit(unpacked: Path) -> None:
        if asked.retrain and asked.data is None and needs_data(unpacked):
            raise Refusal("--retrain needs the data: name their folder with --data DIR")

    trust = Trust.of(asked.allow)
    held: Standing | None = None
    with reading(asked.archive), tempfile.TemporaryDirectory() as folder:
        findings = check(asked.archive, Path(folder), holds, trust, admit)
        if (asked.retrain or asked.data is not None) and not any(finding.same is False for finding in findings):
            say = printer(translator)
            held = audit(Path(folder), how, Sources(trust, asked.data), say)
    words = {same: translator(word) for same, word in FOUND.items()}
    width = max(map(len, words.values()))
    for finding in findings:
        said = f"{words[finding.same]:<{width}}  {finding.file} ({translator(finding.comparison)})"
        print(printable(said))
    for wrong in [] if held is None else held.findings:
        print(printable(f"{wrong.file}: {wrong.field}: {translator(wrong.reason)}"))
    if any(finding.same is False for finding in findings) or (held is not None and held.findings):
        raise SystemExit(1)
    print(translator(Message("every hash holds, and every table is what its records give")))
    if held is not None:
        print(translator(held.words))
