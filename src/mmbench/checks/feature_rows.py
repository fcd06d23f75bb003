"""Findings in the feature files: what made them, whom they cover, whether two are one, and how long their rows are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.checks import Finding, blocking, graded, warning
from mmbench.data import encoded
from mmbench.data.features import ItemFeature, nonzero_rows, read_matrix, row_lengths
from mmbench.data.sources import read_feature
from mmbench.messages import Template, message_of

#: Share of the interactions whose item has content, from which a comparison is about the content and not the gaps.
COVERAGE, LEAST_COVERAGE = 0.8, 0.2
#: Cosine from which two items are one to a model, and the share of such items that is worth a word.
TWIN_COSINE, TWIN_LIMIT = 1 - 1e-4, 0.02
#: Items that are compared with each other.
TWIN_SAMPLE = 5000
UNIT_TOLERANCE = 1e-3
#: Shares between which rows of length one are neither the rule nor the exception.
SOME_UNIT, MOST_UNIT = 0.05, 0.95
#: Ratio of typical lengths from which the longer modality drowns the shorter.
LENGTH_RATIO = 10.0
#: Ratio to the median length from which a row is no content but an accident.
OUTLIER_RATIO = 1000.0


@dataclass(frozen=True)
class FeatureFile:
    """One feature file that could be read.

    Args:
        name: ``image`` or ``image@clip``.
        modality: its modality.
        path: the matrix.
        feature: rows as the catalogue.
        about: its sidecar, None without one.
        read: whether the sweep reads it, and not another encoder's file of the modality.
    """

    name: str
    modality: str
    path: Path
    feature: ItemFeature
    about: Mapping[str, Any] | None
    read: bool


def read_all(
    folder: Path, items: pd.DataFrame, encoder: Mapping[str, str], *, trusted: bool
) -> tuple[list[FeatureFile], list[Finding]]:
    """Every feature file of a folder, and what keeps one from being read or trusted.

    Args:
        folder: canonical folder.
        items: its catalogue.
        encoder: label of the encoder by modality that a sweep is told to read.
        trusted: whether the sweep takes rows whose order nothing proves.
    """
    files, findings = [], []
    for modality, by_label in encoded.encoders_in(folder).items():
        choice = {name: label for name, label in encoder.items() if name == modality}
        try:
            chosen = encoded.picked({modality: by_label}, choice, str(folder))[modality]
        except ValueError:  # which the sweep would say
            chosen = None
        for label, path in by_label.items():
            name = modality if label == encoded.DEFAULT else f"{modality}@{label}"
            try:
                about = encoded.read_sidecar(path)
                if about is not None and (strange := _mixed_up(path, modality, about)) is not None:
                    findings.append(strange)
                    continue
                feature, proved = _read(path, modality, items)
            except ValueError as error:
                findings.append(
                    blocking(
                        "unreadable",
                        Template("The features {name} cannot be read: {error}"),
                        name=name,
                        error=message_of(error),
                    )
                )
                continue
            if not (proved or trusted):
                # What no sweep reads unless it is told to does not keep one from running.
                findings.append(
                    (blocking if path == chosen else warning)(
                        "row_order",
                        Template(
                            "Nothing proves that the rows of {name} are in the order of items.parquet, and a wrong "
                            "order looks like useless content, so a sweep refuses them: encode again, add a list of "
                            "ids, or vouch for the order with dataset.trust_row_order=true."
                        ),
                        name=name,
                    )
                )
            files.append(FeatureFile(name, modality, path, feature, about, path == chosen))
    return files, findings


def _mixed_up(path: Path, modality: str, about: Mapping[str, Any]) -> Finding | None:
    """A sidecar that tells of another file."""
    maker, width = about["encoder"], read_matrix(path).shape[1]
    if about.get("d") != width:
        return blocking(
            "other_width",
            Template(
                "{name} has rows of {width} numbers, but its sidecar says that {encoder} made rows of {said}: files "
                "were mixed up. Encode again."
            ),
            name=path.name,
            width=str(width),
            said=str(about.get("d")),
            encoder=maker,
        )
    if about.get("modality") != modality:
        return blocking(
            "other_modality",
            Template(
                "The sidecar of {name} tells of the modality {said} and of {encoder}: files were mixed up. Encode "
                "again."
            ),
            name=path.name,
            said=str(about.get("modality")),
            encoder=maker,
        )
    if about["sha256"] != fingerprint.of_file(path):
        return blocking(
            "other_file",
            Template(
                "{name} is not the file that its sidecar describes ({encoder}): it was changed or replaced. Encode "
                "again, or remove the sidecar."
            ),
            name=path.name,
            encoder=maker,
        )
    return None


def _read(path: Path, modality: str, items: pd.DataFrame) -> tuple[ItemFeature, bool]:
    """The feature, and whether its row order is proved."""
    notices: list[str] = []
    try:
        return read_feature(path, modality, items, trust=False, notices=notices), True
    except ValueError:
        return read_feature(path, modality, items, trust=True, notices=notices), False


def findings(
    files: Sequence[FeatureFile], items: pd.DataFrame, log: pd.DataFrame, items_with: Sequence[str] = ()
) -> Iterator[Finding]:
    """What is wrong with feature files that could be read.

    Args:
        files: what :func:`read_all` gives.
        items: the catalogue.
        log: interactions.
        items_with: modalities without whose content the sweep leaves an item out.
    """
    needed = [file.feature.present for file in files if file.read and file.modality in items_with]
    kept = np.logical_and.reduce(needed) if needed else np.ones(len(items), bool)
    if not kept.all():
        items, log = items[kept], log[log["item_id"].isin(items["item_id"][kept])]
        files = [
            replace(file, feature=ItemFeature(file.feature.values[kept], file.feature.present[kept])) for file in files
        ]
    ids = items["item_id"].to_numpy(object)
    bought = np.asarray(log["item_id"].value_counts().reindex(ids).fillna(0), np.float64)
    for file in files:
        yield from _coverage(file, ids, bought, len(log))
        yield from _zeros(file, ids, bought, len(log))
        yield from _lengths(file, ids)
        yield from _twins(file, ids)
    yield from _identical(files)
    yield from _lengths_between([file for file in files if file.read])


def _coverage(
    file: FeatureFile, ids: NDArray[np.object_], bought: NDArray[np.float64], n_rows: int
) -> Iterator[Finding]:
    """Content that is missing; the share is of all rows of the log, those of items that nobody lists too."""
    present = file.feature.present
    share = float(bought[present].sum() / max(n_rows, 1))
    missing = int((~present).sum())
    if share < COVERAGE and missing:
        finding = blocking if share < LEAST_COVERAGE else warning
        example = ids[~present][np.argmax(bought[~present])]
        yield finding(
            "coverage",
            Template(
                "{n} of {total} items has no {name} (for example {example}); those that have one carry {share} of "
                "the interactions. The comparison is about gaps as much as about content.",
                "{n} of {total} items have no {name} (for example {example}); those that have one carry {share} of "
                "the interactions. The comparison is about gaps as much as about content.",
            ),
            missing,
            name=file.name,
            total=len(present),
            share=share,
            example=example,
        )


def _zeros(file: FeatureFile, ids: NDArray[np.object_], bought: NDArray[np.float64], n_rows: int) -> Iterator[Finding]:
    """Rows that hold nothing though ``has_<modality>`` of items.parquet, which a sweep believes, calls them content."""
    zero = file.feature.present & ~_filled(file)
    if not zero.any():
        return
    share = float(bought[zero].sum() / max(n_rows, 1))
    yield graded(
        share,
        1 - LEAST_COVERAGE,
        "zero_rows",
        Template(
            "{n} row of {name} holds only zeros, and has_{modality} calls it content (for example item {example}); "
            "such items carry {share} of the interactions. Put false into has_{modality} where there is no content.",
            "{n} rows of {name} hold only zeros, and has_{modality} calls them content (for example item {example}); "
            "such items carry {share} of the interactions. Put false into has_{modality} where there is no content.",
        ),
        int(zero.sum()),
        name=file.name,
        modality=file.modality,
        share=share,
        example=ids[zero][np.argmax(bought[zero])],
    )


def _twins(file: FeatureFile, ids: NDArray[np.object_]) -> Iterator[Finding]:
    having = np.flatnonzero(_filled(file))
    if len(having) < 2:
        return
    rows = having[np.unique(np.linspace(0, len(having) - 1, min(TWIN_SAMPLE, len(having))).astype(int))]
    values = file.feature.values[rows]
    lengths = np.maximum(row_lengths(values), np.finfo(np.float64).tiny)
    unit = (values / lengths[:, None]).astype(np.float32)
    twin = np.full(len(rows), -1)
    for start in range(0, len(rows), 1024):
        cosine = unit[start : start + 1024] @ unit.T
        cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -1
        best = cosine.argmax(axis=1)
        alike = cosine[np.arange(len(cosine)), best] > TWIN_COSINE
        twin[start : start + 1024][alike] = best[alike]
    alike = twin >= 0
    share = float(alike.mean())
    if share == 1.0 and (unit @ unit[0] > TWIN_COSINE).all():
        yield blocking(
            "constant",
            Template("Every row of {name} is practically the same, so it cannot tell two items apart."),
            name=file.name,
        )
    elif share > TWIN_LIMIT:
        one = int(alike.argmax())
        yield warning(
            "twins",
            Template(
                "{n} item ({share}) has nearly the vector of another one in {name}, for example {one} and {other}. "
                "Near-identical items leak from train to test: join them.",
                "{n} items ({share}) have nearly the vector of another one in {name}, for example {one} and {other}. "
                "Near-identical items leak from train to test: join them.",
            ),
            int(alike.sum()),
            name=file.name,
            share=share,
            one=ids[rows[one]],
            other=ids[rows[twin[one]]],
        )


def _filled(file: FeatureFile) -> NDArray[np.bool_]:
    """Items whose rows hold something, ``(n,)``."""
    return file.feature.present & nonzero_rows(file.feature.values)


def _present_lengths(file: FeatureFile) -> NDArray[np.float64]:
    return row_lengths(file.feature.values)[_filled(file)]


def _typical(lengths: NDArray[np.float64]) -> float:
    return float(np.median(lengths)) if len(lengths) else 0.0


def _lengths(file: FeatureFile, ids: NDArray[np.object_]) -> Iterator[Finding]:
    lengths = _present_lengths(file)
    far = lengths > OUTLIER_RATIO * _typical(lengths[lengths > 0])
    if far.any():
        yield warning(
            "outliers",
            Template(
                "{n} row of {name} is more than {times} times as long as its median row (for example item {example}): "
                "is there a mark for a missing value in it? Beside it, the other items look all alike to a model.",
                "{n} rows of {name} are more than {times} times as long as its median row (for example item "
                "{example}): are there marks for missing values in them? Beside them, the other items look all alike "
                "to a model.",
            ),
            int(far.sum()),
            name=file.name,
            times=int(OUTLIER_RATIO),
            example=ids[_filled(file)][far][0],
        )
    unit = np.abs(lengths - 1) < UNIT_TOLERANCE
    if len(unit) and SOME_UNIT < unit.mean() < MOST_UNIT:
        other = ids[_filled(file)][~unit][0]
        yield warning(
            "mixed_lengths",
            Template(
                "{n} of {total} rows of {name} has length one and the others have not (for example item {example}): "
                "normalise all rows alike.",
                "{n} of {total} rows of {name} have length one and the others have not (for example item {example}): "
                "normalise all rows alike.",
            ),
            int(unit.sum()),
            name=file.name,
            total=len(unit),
            example=other,
        )


def _lengths_between(files: Sequence[FeatureFile]) -> Iterator[Finding]:
    typical = {file.name: _typical(_present_lengths(file)) for file in files}
    longest, shortest = (pick(typical, key=typical.__getitem__, default=None) for pick in (max, min))
    if longest is None or shortest is None or typical[shortest] == 0:
        return
    ratio = typical[longest] / typical[shortest]
    if ratio > LENGTH_RATIO:
        yield warning(
            "lengths_differ",
            Template(
                "Rows of {longer} are typically {ratio} times as long as rows of {shorter}. A model that adds or "
                "joins them hears {longer} only: normalise both alike."
            ),
            longer=longest,
            shorter=shortest,
            ratio=f"{ratio:.0f}",
        )


def _identical(files: Sequence[FeatureFile]) -> Iterator[Finding]:
    for one, other in itertools.combinations(files, 2):
        if (
            one.feature.values.shape == other.feature.values.shape
            and one.feature.fingerprint() == other.feature.fingerprint()
        ):
            yield blocking(
                "identical",
                Template("{one} and {other} hold the same numbers: one of them was copied in the place of the other."),
                one=one.path.name,
                other=other.path.name,
            )
