"""Every check of a canonical folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from mmbench.checks import Finding, Severity, blocking, enough_users, feature_rows, item_table, log, unread_texts
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.sources import named_texts, read_items, read_log, text_is_grams
from mmbench.encoders.contents import item_texts
from mmbench.messages import Refusal, Template, message_of

#: Bounds of the relative gain that a study should be able to see: a hundredth of a percent, and ten times the metric.
LEAST_GAIN, MOST_GAIN = 0.0001, 10.0


def check_folder(
    folder: Path, gain: float, now: datetime | None = None, config: DatasetConfig | None = None
) -> list[Finding]:
    """Find what would spoil a study on a folder, the blocking findings first.

    Args:
        folder: canonical folder; nothing is written.
        gain: smallest relative gain of interest.
        now: what counts as the present.
        config: how a sweep reads the folder; by default as ``dataset=folder`` does.

    Raises:
        ValueError: if the interactions or the items cannot be read at all, or for a gain that is none.
    """
    if not LEAST_GAIN <= gain <= MOST_GAIN:
        raise Refusal(
            "gain={gain} must be a number from {least} to {most}, for example 0.05 for five percent",
            gain=gain,
            least=LEAST_GAIN,
            most=MOST_GAIN,
        )
    config = config or DatasetConfig(folder.resolve().name, str(folder), protocol="auto")
    interactions = read_log(folder)
    findings = list(log.findings(interactions, now or datetime.now(UTC), config.split_column))
    if (folder / "items.parquet").is_file():
        items = read_items(folder)
        files, unread = feature_rows.read_all(folder, items, config.encoder, trusted=config.trust_row_order)
        findings += unread
        readings: list[list[str]] = []
        for file in files:
            if file.modality == "text" and (texts := _texts(folder, items, _made_from(file))) is not None:
                findings += unread_texts.findings(file, texts, by_grams=file.name == "text" and text_is_grams(folder))
                readings += [texts] if texts not in readings else []
        if (usual := _texts(folder, items, None)) is not None:
            readings += [usual] if usual not in readings else []
        findings += item_table.findings(interactions, items, readings)
        findings += feature_rows.findings(files, items, interactions, config.items_with)
    if not any(finding.severity is Severity.BLOCKING for finding in findings):
        findings += _in_use(config, gain)
    return sorted(findings, key=lambda finding: finding.severity is not Severity.BLOCKING)


def _made_from(file: feature_rows.FeatureFile) -> str | None:
    """How the texts of a feature file were made, None for the usual way: an encoder may have read other columns."""
    said = None if file.about is None else file.about.get("made_from")
    return said if isinstance(said, str) else None


def _texts(folder: Path, items: pd.DataFrame, template: str | None) -> list[str] | None:
    try:
        return item_texts(items, template, named_texts(folder))[0]
    except ValueError:  # no column looks like a text, or dataset.json is broken, which reading the features tells
        return None


def _in_use(config: DatasetConfig, gain: float) -> list[Finding]:
    """What shows only when the folder is read as a sweep would read it."""
    try:
        dataset = load_dataset(config)
    except ValueError as error:
        return [blocking("unusable", Template("A sweep cannot read this folder: {error}"), error=message_of(error))]
    return list(enough_users.findings(dataset.split, gain))
