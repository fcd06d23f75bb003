"""From files of others to a canonical folder, and back to MMRec; planted worlds too."""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from mmbench import fingerprint
from mmbench.cli.encode import encode
from mmbench.cli.folders import new_folder
from mmbench.cli.prepare import EXPORT, PLANTED, ROLES
from mmbench.cli.words import dataset_name, next_line, take_language
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.describe import coded, coverage, statistics
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import deduplicated, rating_at_least
from mmbench.data.planted import make_world
from mmbench.data.readers.archives import unpacked
from mmbench.data.readers.columns import NONE, Columns, mapped
from mmbench.data.readers.feature_files import read_item_feature
from mmbench.data.readers.formats import Options, read_source
from mmbench.data.readers.journal import Journal, Question
from mmbench.data.readers.mmrec import kept_by, write_mmrec
from mmbench.data.regular_file import storable
from mmbench.data.sources import Source, note_encoded, prepared_features, read_folder, write_folder
from mmbench.data.splits import PARTS, PROTOCOLS, automatic
from mmbench.encoders.ngrams import with_text
from mmbench.messages import Message, Refusal, Translator, series
from mmbench.nn.hyperparameters import one_of

#: What a prepared folder may hold beside features, and what an encoder that was killed leaves there.
CANONICAL_FILES = ("interactions.parquet", "items.parquet", "dataset.json", "truth.npz", ".*_feat*.tmp")
MMREC_FILES = ("*.inter", "*_feat.npy", "i_id_mapping.csv", "u_id_mapping.csv", "missed_*_itemIDs.csv")


class Prepared(NamedTuple):
    """What is known after a folder was written.

    Args:
        questions: what could not be found out; it has been said too.
        reading: words of the configuration that the folder needs.
    """

    questions: list[Question]
    reading: list[str]


def prepare_folder(given: argparse.Namespace, translator: Translator) -> Prepared:
    """Prepare a dataset as the options of the command line ask, and say what it holds and how to go on.

    Raises:
        ValueError: for a mistake in the command line or in the files.
    """
    storable(given.out.resolve())
    run = {EXPORT: _to_mmrec, PLANTED: _planted}.get(given.command, _import)
    return run(given, translator)


def _import(given: argparse.Namespace, translator: Translator) -> Prepared:
    options, journal = _options(given), Journal()
    storable(given.source)  # an archive is read under another name
    with new_folder(given.out, _written, given.overwrite) as folder, _opened(given.source, journal) as path:
        name, source = read_source(path, given.format, options, journal)
        source = _with_features(source, given, journal)
        if path != given.source and "image_path" in source.items:
            source = replace(source, items=source.items.drop(columns="image_path"))
            journal.tell(Message("images inside a .zip are not kept; unpack it to encode them"))
        source, encoder = _with_texts(source, given, journal)
        provenance = {
            "format": name,
            "mmbench": version("mmbench"),
            "files": _digests(path, journal.files),
            "options": _stated_options(given, options),
            **encoder,
        }
        log = coded(source.log)
        contents = {"statistics": statistics(source, log), "coverage": coverage(source), "texts": list(source.texts)}
        write_folder(source, folder, provenance, contents)
        journal.check_unchanged()  # after the last read of a mapped matrix
        del source  # the log as text is most of the memory, and what follows takes some of its own
        pa.default_memory_pool().release_unused()
        _encode(folder, given, translator)
    reading = _protocol(log, journal)
    print("\n".join(_summary(given.out, name, contents, journal, reading, translator)))
    return Prepared(journal.questions, reading)


def _encode(folder: Path, given: argparse.Namespace, translator: Translator) -> None:
    """Run the requested encoders on the folder before it takes its place; their features replace imported ones."""
    if given.encode:
        translator, asked = take_language([f"lang={translator.lang}", *given.encode])
        pairs = [(key, value) for key, _, value in (word.partition("=") for word in asked)]
        made = encode(folder, [("overwrite", "true"), *pairs], translator)
        note_encoded(folder, {one.path.name: one.about["sha256"] for one in made})


def _written(out: Path) -> Iterator[str]:
    """What an earlier call wrote into a folder; one with anything else, such as later vectors, is never overwritten."""
    yield from CANONICAL_FILES
    yield from (glob.escape(path.name) for path in prepared_features(out))


def _options(given: argparse.Namespace) -> Options:
    columns = mapped(given.map) if given.map else Columns()
    columns = replace(columns, **{role: getattr(given, role) for role in ROLES if getattr(given, role)})
    return Options(
        columns,
        given.items,
        given.item_column,
        _text(given),
        given.encoding,
        given.sheet,
        given.items_encoding,
        given.items_sheet,
        given.cancel_returns,
        given.restore_zeros,
        tuple(given.leave_out),
    )


def _text(given: argparse.Namespace) -> tuple[str, ...] | None:
    """The text columns asked for; none where they are guessed, None where no text is wanted."""
    if given.text == NONE:
        return None
    return () if given.text is None else tuple(name.strip() for name in given.text.split(","))


@contextlib.contextmanager
def _opened(source: Path, journal: Journal) -> Iterator[Path]:
    """The source, unpacked where it is a zip archive."""
    if source.suffix.lower() == ".zip" and source.is_file():
        with unpacked(journal.read(source)) as folder:
            yield folder
    else:
        yield source


def _with_features(source: Source, given: argparse.Namespace, journal: Journal) -> Source:
    own: dict[str, ItemFeature] = {}
    for word in given.features:
        modality, is_pair, path = word.partition("=")
        if not is_pair or not re.fullmatch(r"[a-z][a-z0-9_]*", modality):
            raise Refusal(
                "--features {word}: write modality=path with a modality of small letters, digits and underscores",
                word=repr(word),
            )
        if modality in own:
            raise Refusal("--features {modality} is given twice; name one file for it", modality=modality)
        own[modality] = read_item_feature(Path(path), source.items["item_id"].tolist(), journal)
    return replace(source, features=dict(sorted({**source.features, **own}.items())))


def _with_texts(source: Source, given: argparse.Namespace, journal: Journal) -> tuple[Source, dict[str, Any]]:
    """The source with text features, where it has texts and no such features yet, and what made them."""
    columns = _text(given) or source.texts
    for name in columns:
        if name not in source.items:
            known = ", ".join(map(str, source.items))
            raise Refusal(
                "{path}: column {column} ({option}) is not there; columns are {columns}",
                path=given.source,
                column=repr(name),
                option="--text",
                columns=known,
            )
    source = replace(source, texts=columns)
    if given.text == NONE or not columns or "text" in source.features:
        return source, {}
    if not (source.items[list(columns)] != "").to_numpy().any():
        journal.tell(
            Message.counted(
                "{columns} is empty for every item; there is no modality text",
                "{columns} are empty for every item; there is no modality text",
                len(columns),
                columns=", ".join(columns),
            )
        )
        return source, {}
    encoder = {"text": {"encoder": "character n-grams, TF-IDF, SVD", "columns": list(columns), "dim": given.text_dim}}
    return with_text(source, columns, given.text_dim), encoder


def _stated_options(given: argparse.Namespace, options: Options) -> dict[str, Any]:
    """The options that say something, as dataset.json keeps them; of files the name."""
    stated = {**asdict(options), "columns": {k: v for k, v in asdict(options.columns).items() if v}}
    stated |= {"features": [re.sub("=.*[/\\\\]", "=", word) for word in given.features]}
    return {key: value.name if isinstance(value, Path) else value for key, value in stated.items() if value}


def _digests(root: Path, files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of input files by their path below ``root``; a folder counts as one, by all that it holds.

    A file elsewhere has its name alone, since no path of the machine is kept, numbered where several have one name.
    """
    digests: dict[str, str] = {}
    for path in files:
        below = root.is_dir() and path.is_relative_to(root)
        plain = str(path.relative_to(root)) if below else path.name
        numbered = (f"{plain} ({number})" for number in itertools.count(2))
        name = next(name for name in itertools.chain([plain], numbered) if name not in digests)
        if path.is_file():
            digests[name] = fingerprint.of_file(path)
            continue
        digest = hashlib.sha256()
        for part in sorted(part for part in path.rglob("*") if part.is_file()):
            below_it = part.relative_to(path).as_posix()
            # A name that is not UTF-8 counts by its bytes.
            digest.update(below_it.encode(errors="surrogateescape") + f"\0{fingerprint.of_file(part)}\n".encode())
        digests[name] = digest.hexdigest()
    return digests


def _protocol(log: pd.DataFrame, journal: Journal) -> list[str]:
    """Tell how the log will be split; the word that says so where ``auto`` would try parts that are not whole."""
    lacking = [part for part in PARTS if "split" in log and not (log["split"] == part).any()]
    if lacking:
        journal.tell(
            Message(
                "the column 'split' has no rows of the part {parts}, so it cannot be used as it is",
                parts=", ".join(lacking),
            )
        )
        log = log.drop(columns="split")
    protocol, why = automatic(deduplicated(log), "split")
    journal.tell(why)
    return [f"dataset.protocol={protocol}"] if lacking else []


def _summary(
    out: Path, name: str, contents: Mapping[str, Any], journal: Journal, reading: Sequence[str], translator: Translator
) -> list[str]:
    """What was written and the command that uses it."""
    numbers, count = contents["statistics"], translator.number
    sizes = [
        Message.counted("{n} user", "{n} users", numbers["users"]),
        Message.counted("{n} item", "{n} items", numbers["items"]),
        Message.counted("{n} row", "{n} rows", numbers["rows"]),
    ]
    lines = [
        translator(Message("written to {path} (format {format})", path=out, format=name)),
        translator(series(sizes)),
    ]
    spread = {key: count(value) for key, value in numbers["per_user"].items()}
    lines.append(
        translator(
            Message(
                "density {density}; interactions per user {min} to {max}, median {median}",
                density=translator.percent(numbers["density"], 2),
                **spread,
            )
        )
    )
    if "timestamp" in numbers:
        days = {key: translator.date(_day(value)) for key, value in numbers["timestamp"].items()}
        lines.append(translator(Message("from {first} to {last}", first=days["min"], last=days["max"])))
    for part, counts in contents["coverage"].items():
        values = {key: count(value) for key, value in counts.items()}
        if part.startswith("items."):
            lines.append(
                translator(
                    Message(
                        "{column} {present}/{items} items",
                        column=part.removeprefix("items."),
                        items=count(numbers["items"]),
                        **values,
                    )
                )
            )
        else:
            lines.append(
                translator(
                    Message(
                        "{modality} {present}/{items} items, {constant} constant, {duplicates} duplicate rows",
                        modality=part,
                        **values,
                    )
                )
            )
    return [
        *lines,
        *map(translator, journal.lines),
        "",
        next_line(["check", str(out), *reading], translator),
    ]


def _day(seconds: int) -> Any:
    # The year is clipped to what a calendar can say: a time that is wrong is no reason to fail.
    return datetime.fromtimestamp(min(max(seconds, 0), 253_402_300_799), UTC).date()


def _planted(given: argparse.Namespace, translator: Translator) -> Prepared:
    """Write a planted world and, unless it is very large, its truth on the split that the folder holds."""
    from mmbench.cli import compose, habits  # Hydra is slow to load, and other sources do without it
    from mmbench.evaluation.planted_truth import CONDITIONS, CONTENT_AND_LOG, planted_truth

    words = habits.ours(given.words, multirun=False)
    config = replace(compose.compose(words).job().config.dataset, protocol="given")
    if config.world is None:
        raise Refusal("{name} is no planted world; set dataset.world, for example to complementary", name=config.name)
    options = {key: value for key, value in (config.world_options or {}).items() if value is not None}
    with new_folder(given.out, _written, given.overwrite) as folder:
        source = make_world(config.world, config.encoder, **options)
        made_by = {"world": config.world, "options": options, "encoder": dict(config.encoder)}
        provenance = {"format": PLANTED, "mmbench": version("mmbench"), **made_by}
        log = coded(source.log)
        contents = {"statistics": statistics(source, log), "coverage": coverage(source), "texts": []}
        truth = planted_truth(config) if "utility" in source.truth else None
        write_folder(
            source, folder, provenance, contents if truth is None else {**contents, "truth": truth.as_record()}
        )
    journal = Journal()
    if truth is not None:
        reached = {name: translator.number(truth.value(CONTENT_AND_LOG, name), 4) for name in CONDITIONS}
        journal.tell(
            Message(
                "truth: test NDCG@20 of the best scorer, by content and log: none {none}, text {text}, image {image}, "
                "fused {fused}",
                **reached,
            )
        )
    reading = _protocol(log, journal)
    print("\n".join(_summary(given.out, PLANTED, contents, journal, reading, translator)))
    return Prepared([], reading)


def _to_mmrec(given: argparse.Namespace, translator: Translator) -> Prepared:
    # Protocol cold has several folds, and a folder holds one split.
    one_of("--protocol", given.protocol, [name for name in PROTOCOLS if name != "cold"])
    with new_folder(given.out, lambda _: MMREC_FILES, given.overwrite) as folder:
        log = read_folder(given.folder, trust_row_order=given.trust_row_order).log
        if given.protocol == "given" and given.split_column not in log:
            raise Refusal(
                "{path} has no column {column} with the part of each row; name it with --split-column, or split with "
                "--protocol auto, time, last_out or paper",
                path=given.folder,
                column=repr(given.split_column),
            )
        config = DatasetConfig(
            name=dataset_name(given.folder),
            path=str(given.folder),
            protocol=given.protocol,
            split_column=given.split_column,
            split_seed=given.split_seed,
            k_core=given.k_core,
            min_rating=given.min_rating,
            trust_row_order=given.trust_row_order,
        )
        dataset = load_dataset(config)
        source, parts = kept_by(dataset, deduplicated(rating_at_least(log, given.min_rating)))
        idle = write_mmrec(source, parts, folder, given.out.resolve().name)
    lines = [Message("written to {path}", path=given.out), *dataset.summary()]
    if idle:
        lines.append(
            Message.counted(
                "the last item has no interaction; MMRec counts max(itemID) + 1 items and will not fit",
                "the last {n} items have no interaction; MMRec counts max(itemID) + 1 items and will not fit",
                idle,
            )
        )
    print("\n".join(map(translator, lines)))
    return Prepared([], [])
