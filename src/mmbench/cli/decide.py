"""``python -m mmbench decide SWEEP [economics=FILE] [lang=en|ja] [dataset=NAME] [model=NAME] [serving=false]``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from mmbench import fingerprint, paths
from mmbench.cli.compose import tracker as asked_tracker
from mmbench.cli.errors import printable
from mmbench.cli.plain_yaml import plain_yaml
from mmbench.cli.words import Parser, add_allow, next_line, take_tracking
from mmbench.data.planted import MADE_UP
from mmbench.decision import Economics, decide_first, read_economics, replay
from mmbench.decision.economics import completed, with_counts
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.hints import did_you_mean
from mmbench.messages.refused import reading
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store.files import read_document, write_text
from mmbench.store.trackers import Tracker

KEYS = ("economics", "lang", "dataset", "model", "serving")
DESCRIPTION = "Should images be added? Writes report/decision.html and report/decision.json of a sweep."


def main(argv: Sequence[str]) -> None:
    """Decide from the records of a sweep, or replay a decision record."""
    parser = Parser(prog="python -m mmbench decide", description=DESCRIPTION)
    parser.add_argument(
        "sweep", type=Path, nargs="?", help="folder of the sweep, or a decision.json to decide again from"
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="economics=FILE or a name in conf/economics (default, with lang=ja yen), lang=en or ja, dataset=NAME, "
        "model=NAME whose lists and guard-rails are looked at (the gain is that of all models), serving=false to "
        "measure no latency, tracking=wandb to show the decision in W&B, or any other tracking word of a sweep",
    )
    parser.add_argument(
        "--template",
        metavar="NAME",
        help="write economics-NAME.yaml to be edited, with the sums of conf/economics/NAME.yaml (default or yen) and "
        "what each means, and decide nothing",
    )
    add_allow(parser)
    asked = parser.parse_intermixed_args([word for word in argv if word != "debug=true"])
    if asked.template is not None and asked.sweep is not None:  # without a sweep, the first setting takes its place
        asked.settings, asked.sweep = [str(asked.sweep), *asked.settings], None
    tracking, words = take_tracking(asked.settings)
    settings = read_settings(words)
    if asked.template is not None:
        print(write_template(asked.template, Translator(settings["lang"])))
        return
    if asked.sweep is None:
        parser.error("the following arguments are required: sweep")
    with reading(asked.sweep):
        if asked.sweep.is_file():
            if others := [word for word in (*words, *tracking) if not word.startswith("lang=")]:
                raise Refusal(
                    "{file} is the record of a decision and holds all of its inputs; beside it only lang may be set, "
                    "not {words}",
                    file=asked.sweep,
                    words=" ".join(others),
                )
            print(printable(_replayed(asked.sweep, Translator(settings["lang"]))))
            return
        trust, tracker = Trust.of(asked.allow), asked_tracker(tracking, asked.sweep)
        print(printable(write(asked.sweep, settings, _command(asked, words), trust, tracker)), end="")
        if not Path(settings["economics"]).suffix:  # sums of the package, of no particular company
            print("\n" + next_line(["decide", "--template", settings["economics"]], Translator(settings["lang"])))


def _command(asked: argparse.Namespace, settings: Sequence[str]) -> str:
    """The command that gives the same page again."""
    allowed = [word for allow in asked.allow for word in ("--allow", allow)]
    return shlex.join(
        ["python", "-m", "mmbench", "decide", f"multirun/{asked.sweep.resolve().name}", *settings, *allowed]
    )


def read_settings(words: Sequence[str]) -> dict[str, str]:
    """Settings by key.

    Raises:
        ValueError: naming the word, and what is accepted.
    """
    settings = {"lang": "en", "serving": "true"}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise Refusal("{word} is not a setting of decide; {hint}", word=word, hint=did_you_mean(key, KEYS))
        settings[key] = value
    Translator(settings["lang"])  # refuses a language without a catalogue
    if settings["serving"] not in ("true", "false"):
        raise Refusal("{key}={value} must be true or false", key="serving", value=settings["serving"])
    return {"economics": economics_in(settings["lang"]), **settings}


def economics_in(lang: str) -> str:
    """The name in ``conf/economics`` of the sums, of no particular company, that readers of a language know."""
    return "yen" if lang == "ja" else "default"


def write_template(name: str, translator: Translator) -> str:
    """Write a file of economics to be edited into this folder, and say how it is used.

    Raises:
        ValueError: for a name that is not in ``conf/economics``, and where the file is there already.
    """
    from mmbench.decision.template import economics_template

    known = {path.stem: path for path in sorted((paths.config_dir() / "economics").glob("*.yaml"))}
    if name not in known:
        raise Refusal("--template {name}: there is no such file; {hint}", name=name, hint=did_you_mean(name, known))
    file = template_file(name)
    if file.exists():
        raise Refusal("{file} is there already; edit it, or move it away first", file=file)
    write_text(file, economics_template(completed(plain_yaml(known[name]), plain_yaml(known["default"])), translator))
    return translator(
        Message(
            "written to {file}: put your own numbers into it, then decide with economics={file}; what you leave as it "
            "is counts as an assumption",
            file=file,
        )
    )


def template_file(name: str) -> Path:
    """Where :func:`write_template` writes."""
    return Path(f"economics-{name}.yaml")


def load_economics(name: str) -> Economics:
    """The economics of a file, or of a name in ``conf/economics``, over those of ``conf/economics`` in its currency.

    Raises:
        ValueError: if there is no such file or it is no mapping.
    """
    folder = paths.config_dir() / "economics"
    file = Path(name) if Path(name).suffix else folder / f"{name}.yaml"
    if not file.exists():
        names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise Refusal("economics={name}: no such file; name a YAML file or one of {names}", name=name, names=names)
    own, default = plain_yaml(file), plain_yaml(folder / "default.yaml")
    if file.parent == folder:  # these files describe no particular company, so all their inputs count as assumed
        return read_economics({}, completed(own, default))
    if (currency := own.get("currency", default["currency"])) != default["currency"]:
        alike = (
            known for path in sorted(folder.glob("*.yaml")) if (known := plain_yaml(path)).get("currency") == currency
        )
        default = completed(next(alike, {}), default)
    changed_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
    digest = fingerprint.of_file(file)
    return replace(read_economics(own, default), digest=digest, changed_at=changed_at)


def write(
    sweep_dir: Path,
    settings: Mapping[str, str],
    command: str = "",
    trust: Trust = NOTHING,
    tracker: Tracker | None = None,
) -> str:
    """Write page and record of a decision; return what a terminal shows.

    Args:
        sweep_dir: folder of the sweep.
        settings: as :func:`read_settings` gives them.
        command: what the page says it was written by.
        trust: what may be used because a record names it.
        tracker: shows what was written; None for nobody.
    """
    from mmbench.decision.mirror import mirror
    from mmbench.decision.page.checklist import write_checklist
    from mmbench.decision.page.examples import Pictures, examples_of
    from mmbench.decision.page.sections import guard_rails, write_decision
    from mmbench.decision.page.speaker import Speaker
    from mmbench.decision.serving import measure_serving
    from mmbench.decision.steps import DATA
    from mmbench.decision.sweep_evidence import read_evidence
    from mmbench.report.catalogue import unread
    from mmbench.report.comparisons import read_contrasts
    from mmbench.report.index import write_index
    from mmbench.report.reading import read_sweep

    economics = load_economics(settings["economics"])
    table = read_sweep(sweep_dir, trust)
    read = read_evidence(table, settings.get("dataset"), settings.get("model"))
    economics = with_counts(economics, read.counts)
    evidence, decision = decide_first(read.evidence, [part.evidence for part in read.parts], economics)
    about = next(one for one in (read, *read.parts) if one.evidence is evidence)
    serving = measure_serving(table, read.evidence.dataset) if settings["serving"] == "true" else []
    write_decision(
        table,
        about,
        economics,
        decision,
        settings["lang"],
        day=date.today(),
        examples=examples_of(table, about.comparison.a, about.catalogue),
        serving=serving,
        command=command,
        parts=[part for part in read.parts if part is not about],
    )
    s = Speaker.of(settings["lang"], evidence, economics, decision)
    folder, lang = paths.report_dir(sweep_dir), settings["lang"]
    write_checklist(folder, s, lang, date.today(), table.proof, lambda speaker: guard_rails(speaker, about))
    # Now there is a decision that the index page can link.
    write_index(table, read_contrasts(table, read.groups), read.disposals, read.groups, lang)
    if tracker is not None:
        mirror(table, tracker)
    answer = f"{s.badge}: {s.joined((s.action, s.sentence()))}"
    lines = [answer, s.sure(), s.range(), s.cost(), *s.opens(), s.next_step()]
    lines = [*([s(Message(MADE_UP))] if s.made_up else []), *lines]
    lines += [decision.step.command] if decision.step.command else []
    lines += [s.measured(), s.sums()]
    reasons = unread(table)
    if isinstance(read.catalogue, str) and decision.step.name != DATA:  # whose sentence says why
        reasons.append(Message("{name}: {reason}", name=read.evidence.dataset, reason=read.catalogue))
    lines += map(s.translator, dict.fromkeys(reasons))
    if not isinstance(read.catalogue, str) and (why := Pictures.of(read.catalogue, trust).objection):
        lines.append(s(why))
    written = s(
        Message("written to {folder}: decision.html, decision.json, checklist.html", folder=paths.report_dir(sweep_dir))
    )
    return "\n".join([*lines, written]) + "\n"


def _replayed(file: Path, translator: Translator) -> str:
    """The answer of a record, in the language that was asked for.

    Raises:
        ValueError: if its inputs cannot be read or lead to another answer.
    """
    from mmbench.decision.page.phrases import BADGES

    record = read_document(file)
    decision = replay(record)
    result = record.get("result")
    was = result.get("action") if isinstance(result, Mapping) else None
    if decision.action != was:
        raise Refusal("{file} says {was}, but its inputs give {action}", file=file, was=was, action=decision.action)
    return translator(Message("{answer}, as in {file}", answer=BADGES[decision.action], file=file))
