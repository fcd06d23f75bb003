"""From a source to a frozen split with features, which all cells of a dataset share."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import fingerprint, paths
from mmbench.data import encoded, planted, splits
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.held_out import HeldOut
from mmbench.data.interactions import Interactions, deduplicated, k_core, rating_at_least
from mmbench.data.parquet import read_parquet
from mmbench.data.regular_file import stamps_of
from mmbench.data.sources import Source, named_texts, read_folder, read_items, read_log
from mmbench.data.splits import PARTS, Split
from mmbench.messages import Message, Refusal, Template

#: Sizes of a data set.
SIZES = Template("{name}: {users} users, {items} items, train / valid / test {train} / {valid} / {test} ({protocol})")
#: Protocols that do not know which items of a planted world are new.
TRAIN_ON_NEW = ("paper", "time", "last_out")
#: Items of the log that the catalogue lacks.
UNLISTED = Template(
    "{n} item of the log is not in items.parquet and counts as missing every modality",
    "{n} items of the log are not in items.parquet and count as missing every modality",
)
#: Of whom validation is ranked, where not of all.
SAMPLE = Template("validation: {users} of {all} users, the same for all conditions")


@dataclass(frozen=True)
class DatasetConfig:
    """How a dataset is read and split; one file of ``conf/dataset``.

    Args:
        name: name in paths and tables, without a slash.
        path: canonical folder; unused by planted worlds.
        world: name of a planted world, or None for a folder.
        world_options: settings of the world.
        protocol: split protocol, see :data:`mmbench.data.splits.PROTOCOLS`.
        split_column: column with the part of each row, for protocol ``given``.
        split_seed: seed of a random protocol.
        k_core: users and items with fewer interactions are dropped before the split; 0 keeps all.
        min_rating: rows with a lower rating are dropped; None keeps all.
        items_with: modalities whose content an item must have; other items leave the log before the k-core.
        trust_row_order: accept feature files whose row order nothing proves.
        encoder: label of the encoder by modality, where a folder has several.
        cold_fold: fold of items that are new, for protocol ``cold``; None for any other.
        origin: where the data come from, which is said where they are not there.
    """

    name: str
    path: str | None = None
    world: str | None = None
    world_options: Mapping[str, Any] | None = None
    protocol: str = "given"
    split_column: str = "split"
    split_seed: int = 0
    k_core: int = 0
    min_rating: float | None = None
    items_with: Sequence[str] = ()
    trust_row_order: bool = False
    encoder: Mapping[str, str] = field(default_factory=dict)
    cold_fold: int | None = None
    origin: str | None = None

    @property
    def filters_items(self) -> bool:
        """Whether items of the source may be left out, so that the data set's are not the catalogue."""
        return self.k_core > 1 or bool(self.items_with) or self.min_rating is not None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise Refusal(
                "{setting}={value} must be a text; put a number in double quotes",
                setting="dataset.name",
                value=self.name,
            )
        if not self.name.strip():
            raise Refusal("{setting} is empty", setting="dataset.name")
        if "/" in self.name:  # which parts data set, model and condition in the name of a cell
            raise Refusal("dataset.name={name} must be a name without /", name=self.name)
        if self.name in paths.RESERVED:
            raise Refusal(
                "dataset.name={name} is the name of a folder that every sweep has; take another one", name=self.name
            )
        for setting in ("split_seed", "k_core"):
            number = getattr(self, setting)
            if type(number) is not int or number < 0:
                raise Refusal(
                    "{setting}={value} must be a whole number of at least 0", setting=f"dataset.{setting}", value=number
                )
        if isinstance(self.min_rating, bool) or not isinstance(self.min_rating, int | float | None):
            raise Refusal(
                "{setting}={value} must be a number, or null for none",
                setting="dataset.min_rating",
                value=self.min_rating,
            )
        if not isinstance(self.trust_row_order, bool):
            raise Refusal(
                "{setting}={value} must be true or false", setting="dataset.trust_row_order", value=self.trust_row_order
            )
        listed = isinstance(self.items_with, Sequence) and not isinstance(self.items_with, str)
        if not listed or not all(isinstance(name, str) for name in self.items_with):
            raise Refusal(
                "{setting}={value} must be a list of modalities, as in '{setting}=[text]'",
                setting="dataset.items_with",
                value=self.items_with,
            )
        if not isinstance(self.encoder, Mapping):
            raise Refusal(
                "{setting}={value} must be set by modality, as in {setting}.image=...",
                setting="dataset.encoder",
                value=self.encoder,
            )
        if self.protocol not in splits.PROTOCOLS:
            raise Refusal(
                "dataset.protocol={protocol} is unknown; protocols are {protocols}",
                protocol=self.protocol,
                protocols=", ".join(splits.PROTOCOLS),
            )
        folds = range(splits.FOLDS)
        if (self.protocol == "cold") != (self.cold_fold is not None):
            raise Refusal(
                "dataset.protocol=cold and dataset.cold_fold belong together, and here they are {protocol} and {fold}; "
                "with -m, dataset.cold_fold={folds} runs all folds",
                protocol=self.protocol,
                fold="null" if self.cold_fold is None else self.cold_fold,
                folds=",".join(map(str, folds)),
            )
        if self.cold_fold is not None and (type(self.cold_fold) is not int or self.cold_fold not in folds):
            raise Refusal(
                "dataset.cold_fold={fold} must be a whole number from 0 to {last}", fold=self.cold_fold, last=folds[-1]
            )
        if self.world is not None and planted.own_protocol(self.world) == "given" and self.protocol in TRAIN_ON_NEW:
            raise Refusal(
                "dataset.protocol={protocol} would train on the new items of dataset.world={world}; given keeps them "
                "out, and cold draws others",
                protocol=self.protocol,
                world=self.world,
            )
        for modality, label in self.encoder.items():
            if not isinstance(label, str):
                raise Refusal(
                    "dataset.encoder.{modality}={label} must be the label of an encoder; put a number in double quotes",
                    modality=modality,
                    label=label,
                )

    @property
    def cell_name(self) -> str:
        """Name in paths and tables; it includes a split seed, a fold and encoders other than the default ones."""
        split = f"-split{self.split_seed}" if self.split_seed else ""
        split += "" if self.cold_fold is None else f"-fold{self.cold_fold}"
        return f"{self.name}{split}{self._labels}"

    @property
    def repeated_name(self) -> str:
        """What the names of all its splits and folds share."""
        return f"{self.name}{self._labels}"

    @property
    def _labels(self) -> str:
        labels = [f"-{name}={label}" for name, label in sorted(self.encoder.items()) if label != encoded.DEFAULT]
        return "".join(labels)


class LeftOut(NamedTuple):
    """What a source holds and a dataset has no place for.

    Attributes:
        users: raw ids of users without a training interaction, sorted.
        items: raw ids of items that are not in the catalogue, sorted.
        words: the settings that leave something out, as words of the configuration.
    """

    users: pd.Index
    items: pd.Index
    words: str


@dataclass(frozen=True)
class Dataset:
    """A dataset with indexed users and items.

    Args:
        name: name in sentences.
        split: train, validation and test.
        features: features by modality, rows in item order.
        user_ids: raw id of each user, ``(n_users,)``.
        item_ids: raw id of each item, ``(n_items,)``.
        notices: remarks of the reader and of the filters.
        truth: arrays of a planted world by name; None for other data, and for a world that a folder holds.
        config: how it was read.
        stamps: file numbers, sizes and times of its files just before it was read; empty for a planted world.
        made_up: whether it is a planted world, also one that a folder holds.
    """

    name: str
    split: Split
    features: Mapping[str, ItemFeature]
    user_ids: NDArray[np.object_]
    item_ids: NDArray[np.object_]
    notices: tuple[str, ...] = ()
    truth: Mapping[str, NDArray[Any]] | None = None
    config: DatasetConfig | None = None
    stamps: Mapping[Path, tuple[int, ...]] = field(default_factory=dict)
    made_up: bool = False

    @functools.cached_property
    def watch(self) -> Watch:
        """Notices that its files change."""
        return Watch(self)

    @functools.cached_property
    def items(self) -> pd.DataFrame:
        """Rows of items.parquet in the order of the catalogue; no columns where there is no such file."""
        index = pd.Index([str(name) for name in self.item_ids])
        file = None if self.config is None or self.config.world is not None else _folder(self.config) / "items.parquet"
        if file is None or not file.is_file():
            return pd.DataFrame(index=index)
        frame = read_parquet(file)
        return frame.set_index(frame["item_id"].astype(str)).loc[lambda f: ~f.index.duplicated()].reindex(index)

    @functools.cached_property
    def texts(self) -> tuple[str, ...]:
        """Columns of :attr:`items` that ``prepare`` made the texts of; none where nothing says so."""
        if self.config is None or self.config.world is not None:
            return ()
        return named_texts(_folder(self.config))

    @functools.cached_property
    def rated_below(self) -> tuple[Interactions, ...]:
        """What ``min_rating`` left out, of its users and items; they have it all the same."""
        if self.config is None or self.config.min_rating is None:
            return ()
        log = read_log(_folder(self.config))
        log = log.drop(rating_at_least(log, self.config.min_rating).index)
        users, items = (
            pd.Index([str(one) for one in ids]).get_indexer(pd.Index(log[column])).astype(np.int64)
            for column, ids in (("user_id", self.user_ids), ("item_id", self.item_ids))
        )
        known = (users >= 0) & (items >= 0)
        return (Interactions(users[known], items[known], self.n_users, self.n_items),)

    @functools.cached_property
    def left_out(self) -> LeftOut:
        """Users and items that the split and the filters left out; they are in the data all the same."""
        config = self.config
        if config is None:
            return LeftOut(pd.Index([]), pd.Index([]), "")
        if config.world is not None:
            source = _world(config)
            log, items = source.log, source.items
        else:
            folder = _folder(config)
            log = read_log(folder)
            items = read_items(folder) if (folder / "items.parquet").exists() else log
        users, items = (
            pd.Index(found.unique()).difference(pd.Index([str(one) for one in ids]))
            for found, ids in (
                (log["user_id"], self.user_ids),
                (pd.concat([log["item_id"], items["item_id"]]), self.item_ids),
            )
        )
        words = [f"dataset.protocol={self.split.protocol}"]
        words += [f"dataset.k_core={config.k_core}"] if config.k_core > 1 else []
        words += [f"dataset.min_rating={config.min_rating:g}"] if config.min_rating is not None else []
        words += [f"dataset.items_with=[{','.join(config.items_with)}]"] if config.items_with else []
        return LeftOut(users, items, ", ".join(words))

    @property
    def n_users(self) -> int:
        """Number of users with at least one training interaction."""
        return self.split.train.n_users

    @property
    def n_items(self) -> int:
        """Number of items of the catalogue."""
        return self.split.train.n_items

    def summary(self) -> list[str]:
        """Sizes, coverage of each modality and notices, one line each."""
        sizes = {part: len(getattr(self.split, part)) for part in PARTS}
        about = {"name": self.name, "users": self.n_users, "items": self.n_items, "protocol": self.split.protocol}
        lines: list[str] = [Message(SIZES, **about, **sizes)]
        lines += [Message(planted.MADE_UP)] if self.made_up else []
        lines += [feature.coverage(name) for name, feature in sorted(self.features.items())]
        return lines + list(self.notices)


def recorded_sizes(line: str) -> str:
    """First line of :meth:`Dataset.summary`, as a record holds it, as a sentence that can be translated."""
    named = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(SIZES.one))
    found = re.fullmatch(named, line)
    return line if found is None else Message(SIZES, **found.groupdict())


class DataChanged(Refusal):
    """The files of a dataset are no longer those that a sweep began with."""


class Watch:
    """Notices that the files of a dataset change while a sweep runs, which every process reads for itself.

    Args:
        dataset: the dataset as this process read it.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._stamps = dataset.stamps

    def check(self) -> None:
        """Read the dataset again if a file of it was touched, and compare.

        Raises:
            DataChanged: naming the file that holds something else now.
        """
        config = self._dataset.config
        if config is None or self._stamps == (stamps := _stamps(config)):
            return
        try:
            # What is read is compared, so that a file of another order is named as one that has changed.
            now = load_dataset(replace(config, trust_row_order=True))
        except Refusal as error:  # a file that is just being written
            raise DataChanged(error.message) from error
        now.watch.compare({name: feature.fingerprint() for name, feature in self._dataset.features.items()})
        before = self._dataset.split
        split = now.split.towards(before.target) if before.target else now.split
        if (before.tuning_fingerprint, before.test_fingerprint) != (split.tuning_fingerprint, split.test_fingerprint):
            raise DataChanged(
                Message(
                    "{path}: the interactions are no longer those that this sweep began with; put the file back, or "
                    "start the command again for the new ones",
                    path=_folder(config) / "interactions.parquet",
                )
            )
        self._stamps = stamps

    def check_held(self) -> None:
        """Compare the features in memory with what they were: a file that is mapped may have been written into.

        A file that was replaced leaves them as they are, so that a training which runs meanwhile is as good as any.

        Raises:
            DataChanged: naming the file.
        """
        config = self._dataset.config
        if config is None or self._stamps == _stamps(config):
            return
        for name, feature in sorted(self._dataset.features.items()):
            if fingerprint.of_arrays(feature.values, feature.present) != feature.fingerprint():
                raise self._changed(config, name)

    def compare(self, features: Mapping[str, str]) -> None:
        """Compare the features of this process with others.

        Args:
            features: fingerprint by modality, as a sweep began with them.

        Raises:
            DataChanged: naming the file of the first modality that differs.
        """
        config = self._dataset.config
        if config is None or config.world is not None:
            return
        read = self._dataset.features
        for name, expected in sorted(features.items()):
            if name not in read or read[name].fingerprint() != expected:
                raise self._changed(config, name)

    def _changed(self, config: DatasetConfig, modality: str) -> DataChanged:
        label = config.encoder.get(modality, encoded.DEFAULT)
        return DataChanged(
            Message(
                "{path}: the features of {modality} are no longer those that this sweep began with; put the file back, "
                "or start the command again for the new ones",
                path=encoded.feature_file(_folder(config), modality, label),
                modality=modality,
            )
        )


def _folder(config: DatasetConfig) -> Path:
    return Path(config.path or config.name)


def _world(config: DatasetConfig) -> Source:
    assert config.world is not None
    return planted.make_world(config.world, config.encoder, **(config.world_options or {}))


def _stamps(config: DatasetConfig) -> dict[Path, tuple[int, ...]]:
    """What changes with a file of a canonical folder; a file that is absent has no entry."""
    if config.world is not None:
        return {}
    patterns = ("interactions.parquet", "items.parquet", "dataset.json", "*_feat*")
    return stamps_of(file for pattern in patterns for file in _folder(config).glob(pattern))


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read, filter, index and split a dataset.

    Raises:
        ValueError: naming the file or setting and what is allowed.
    """
    stamps = _stamps(config)
    if config.world is not None:
        source = _world(config)
    else:
        if config.origin is not None and not _folder(config).is_dir():
            raise Refusal(
                "{path} is not a folder; point dataset.path or $MMBENCH_DATA at the data, which come from {origin}",
                path=_folder(config),
                origin=config.origin,
            )
        source = read_folder(_folder(config), trust_row_order=config.trust_row_order, encoder=config.encoder)
    notices = list(source.notices)
    if config.items_with:
        source = _with_content(source, config.items_with, notices)
    rated = rating_at_least(source.log, config.min_rating)
    if config.min_rating is not None:
        without = int(source.log["rating"].isna().sum())
        notices.append(
            Message(
                "dataset.min_rating={threshold} leaves out {below} of {rows} rows, whose ratings are lower, and "
                "{without} without a rating",
                threshold=f"{config.min_rating:g}",
                below=len(source.log) - len(rated) - without,
                rows=len(source.log),
                without=without,
            )
        )
    log = _not_empty(deduplicated(rated), config)
    protocol = config.protocol
    if protocol == "auto":
        protocol, why = splits.automatic(log, config.split_column, config.k_core)
        notices.append(why)
    log, parts, pools = _split(log, protocol, config)
    _not_empty(log, config)
    log, parts = _users_with_train(log, parts, notices)
    items, features = _catalogue(source, log, config.k_core, pools, notices)
    split = _indexed(log, parts, items, protocol)
    if pools is not None:
        split = _with_new_items(split, {part: items.isin(pool) for part, pool in pools.items()}, notices)
    for part in PARTS:
        if len(getattr(split, part)) == 0:
            needed = {"given": config.split_column, "time": "timestamp", "last_out": "timestamp", "paper": "user_id"}
            others = [word for word, column in needed.items() if word != protocol and column in log]
            raise Refusal(
                "dataset {name}: the {part} part of protocol {protocol} is empty; others that the log allows: {others}",
                name=config.name,
                part=part,
                protocol=protocol,
                others=", ".join(f"dataset.protocol={word}" for word in others) or "-",
            )
    users = np.sort(log["user_id"].unique())
    truth = dict(source.truth) or None
    ids = items.to_numpy(object)
    made_up = truth is not None or (config.world is None and planted.holds_world(_folder(config)))
    return Dataset(config.name, split, features, users, ids, tuple(notices), truth, config, stamps, made_up)


def _not_empty(log: pd.DataFrame, config: DatasetConfig) -> pd.DataFrame:
    if log.empty:
        raise Refusal(
            "dataset {name}: no interaction is left after items_with, min_rating and k_core={k_core}",
            name=config.name,
            k_core=config.k_core,
        )
    return log


def _with_content(source: Source, modalities: Sequence[str], notices: list[str]) -> Source:
    """The source without items that lack the content of a modality, and without their interactions.

    Items of the log that are not listed lack every modality.
    """
    for name in modalities:
        if name not in source.features:
            raise Refusal(
                "{setting}={value}: there is no {modality}; the modalities are {modalities}",
                setting="dataset.items_with",
                value=f"[{','.join(modalities)}]",
                modality=name,
                modalities=", ".join(sorted(source.features)) or "-",
            )
    has = np.logical_and.reduce([source.features[name].present for name in modalities])
    items = source.items[has].reset_index(drop=True)
    log = source.log[source.log["item_id"].isin(items["item_id"])]
    unlisted = len(pd.Index(source.log["item_id"].unique()).difference(pd.Index(source.items["item_id"])))
    if unlisted:
        notices.append(Message(UNLISTED, unlisted))
    notices.append(
        Message(
            "left out because they lack {modalities}: {items} of {all_items} items with {rows} of {all_rows} "
            "interactions",
            modalities=", ".join(modalities),
            items=int((~has).sum()) + unlisted,
            all_items=len(has) + unlisted,
            rows=len(source.log) - len(log),
            all_rows=len(source.log),
        )
    )
    features = {
        name: with_missing_filled(feature.values[has], feature.present[has], in_place=True)
        for name, feature in source.features.items()
    }
    return replace(source, log=log, items=items, features=features)


def _split(
    log: pd.DataFrame, protocol: str, config: DatasetConfig
) -> tuple[pd.DataFrame, pd.Series, dict[str, pd.Index] | None]:
    """Filter by the k-core and split.

    The core is taken before the split, except by time, see :func:`mmbench.data.splits.time_in_core`.

    Returns:
        The log, the part of each row, and the items that are new in validation and in test, whoever takes them first;
        None under a protocol that does not set any apart.
    """
    if protocol == "time":
        return splits.time_in_core(log, config.k_core)  # who came later is told to have no training interaction
    log = k_core(log, config.k_core)
    pools = None
    if protocol == "cold":
        assert config.cold_fold is not None
        pools = splits.cold_pools(log, config.split_seed, config.cold_fold)
    parts = splits.split_rows(log, protocol, column=config.split_column, seed=config.split_seed, fold=config.cold_fold)
    return log, parts, pools


def _with_new_items(split: Split, pools: Mapping[str, NDArray[np.bool_]], notices: list[str]) -> Split:
    """The split with its pools of new items, and without what neither a pool nor the training log holds.

    A pool may be empty, as under protocol ``time``. Without new items in test there is nothing to evaluate; without
    such in validation nothing chooses an offset, and test is evaluated all the same.
    """
    warm = np.bincount(split.train.items, minlength=split.train.n_items) > 0
    notices.append(
        Message(
            "new items: {valid} in validation, {test} in test, beside {warm} items of the training log",
            valid=int(pools["valid"].sum()),
            test=int(pools["test"].sum()),
            warm=int(warm.sum()),
        )
    )
    held_out = np.union1d(split.valid.items, split.test.items)
    lost = int((~(warm | pools["valid"] | pools["test"])[held_out]).sum())
    if lost:
        notices.append(
            Message.counted(
                "{n} item that is not new was held out with all its interactions and is in none of these lists",
                "{n} items that are not new were held out with all their interactions and are in none of these lists",
                lost,
            )
        )
    if not pools["test"].any():
        return split
    valid, test = (
        HeldOut(rows.select((warm | pools[part])[rows.items]), pools[part], warm)
        for part, rows in (("valid", split.valid), ("test", split.test))
    )
    return replace(split, new_valid=valid, new_test=test)


def _users_with_train(log: pd.DataFrame, parts: pd.Series, notices: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    """Drop users without a training row: no model can rank for them under any condition."""
    known = log["user_id"].isin(log["user_id"][parts == "train"].unique())
    lost = log["user_id"][~known].nunique()
    if lost:
        notices.append(
            Message.counted(
                "{n} user has no training interaction and is left out of every condition",
                "{n} users have no training interaction and are left out of every condition",
                int(lost),
            )
        )
    return log[known], parts[known]


def _catalogue(
    source: Source,
    log: pd.DataFrame,
    core: int,
    pools: Mapping[str, pd.Index] | None,
    notices: list[str],
) -> tuple[pd.Index, dict[str, ItemFeature]]:
    """Items in the order of the source, without those that the k-core dropped, then unlisted items of the log."""
    listed = pd.Index(source.items["item_id"])
    # A new item stays in its pool, even if every user who took it is left out.
    in_log = pd.Index(pd.unique(np.concatenate([log["item_id"], *(pools or {}).values()])))
    rows = np.flatnonzero(listed.isin(in_log)) if core > 1 else np.arange(len(listed))
    unlisted = in_log.difference(listed)
    if len(unlisted):
        notices.append(Message(UNLISTED, len(unlisted)))
    features: dict[str, ItemFeature] = {}
    for name, feature in sorted(source.features.items()):
        values, present = feature.values, feature.present
        if len(rows) < len(listed):
            values, present = values[rows], present[rows]
        if len(unlisted):
            values = np.vstack([values, np.zeros((len(unlisted), values.shape[1]), np.float32)])
            present = np.r_[present, np.zeros(len(unlisted), bool)]
        if not present.any():
            raise Refusal(
                "modality {modality}: no item of the catalogue has content; remove {modality}_feat.npy or mend it",
                modality=name,
            )
        # With no row dropped or added the missing items are filled already; a mapped file stays mapped.
        whole = values is feature.values
        features[name] = feature if whole else with_missing_filled(values, present, in_place=True)
    return listed[rows].append(unlisted), features


def _indexed(log: pd.DataFrame, parts: pd.Series, items: pd.Index, protocol: str) -> Split:
    users = pd.Index(np.sort(log["user_id"].unique()))
    times = log["timestamp"].to_numpy(np.int64) if "timestamp" in log else None
    everything = Interactions(
        users.get_indexer(pd.Index(log["user_id"])).astype(np.int64),
        items.get_indexer(pd.Index(log["item_id"])).astype(np.int64),
        len(users),
        len(items),
        times,
    )
    train, valid, test = (everything.select((parts == part).to_numpy()) for part in PARTS)
    return Split(train, valid, test, protocol)
