"""The file of a company's own sums: written to be edited, and read over those of the package."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mmbench import fingerprint, paths
from mmbench.cli.plain_yaml import plain_yaml
from mmbench.decision import Economics, read_economics
from mmbench.decision.economics import completed
from mmbench.decision.template import economics_template
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.hints import did_you_mean
from mmbench.store.files import write_text


def write_template(name: str, translator: Translator) -> str:
    """Write a file of economics to be edited into this folder, and say how it is used.

    Raises:
        ValueError: for a name that is not in ``conf/economics``, and where the file is there already.
    """
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
    # These files describe no particular company, however they are named, so all their inputs count as assumed.
    if file.resolve().parent == folder.resolve():
        return read_economics({}, completed(own, default))
    if (currency := own.get("currency", default["currency"])) != default["currency"]:
        alike = (
            known for path in sorted(folder.glob("*.yaml")) if (known := plain_yaml(path)).get("currency") == currency
        )
        default = completed(next(alike, {}), default)
    changed_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
    digest = fingerprint.of_file(file)
    return replace(read_economics(own, default), digest=digest, changed_at=changed_at)
