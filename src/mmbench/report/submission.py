"""Checklists of venues: what records prove is answered, everything else waits for a person.

NeurIPS paper, ML reproducibility (Pineau et al. 2021), ACM artifact badges 1.1, RecSys reproducibility track.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmbench import paths
from mmbench.data.dataset import recorded_sizes
from mmbench.evaluation import metrics
from mmbench.inference.contribution.guardrails import MARGIN, Rail
from mmbench.inference.repetitions import Repeated
from mmbench.messages import Message, Translator, clauses, listed, quantity, series
from mmbench.report.comparisons import Comparison, is_counted, is_spoken_of
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import FAIL, Group
from mmbench.report.layout import ENGLISH, Column, Table, markdown_table, md, tex
from mmbench.report.list_facts import GUARDRAILS, RAILS, rail_name
from mmbench.report.pooled import same_data
from mmbench.report.sentences import metric_of_all
from mmbench.report.spent import SEEDS, TRIALS, counted, span, spent_by
from mmbench.report.table import SIMPLE, SweepTable, external_rows, origins_of, simple_baselines
from mmbench.scheduling.trust import is_packaged
from mmbench.store import records
from mmbench.store.ledger import read as read_rows
from mmbench.store.schema import Cell, Seal
from mmbench.training.stopping import SELECTION_METRIC

YES, NO, NOT_APPLICABLE, OPEN = Message("yes"), Message("no"), Message("not applicable"), Message("to be answered")
NEURIPS, PINEAU = Message("NeurIPS paper checklist"), Message("ML reproducibility checklist")
ACM, RECSYS = Message("ACM badges"), Message("RecSys reproducibility")


NOT_RECORDED, FOR_A_PERSON = Message("not recorded"), Message("For a person.")
#: Checks of the fairness report that answer a question of their own, and the one whether the records can be believed;
#: all others stand for equal effort.
SPLIT, CHOICE, RECORDS = ("split", "test split"), ("choice",), "records"
#: What is ranked on test, by what tuning aims at, and where validation items are not hidden, as under protocol paper.
#: A new item of the test part occurs in no other one, so that none of them is ever hidden.
RANKED: Mapping[str, Message] = {
    "": Message("all items but those of the user's training and validation part"),
    "cold": Message("all new items of the test part among themselves"),
    "warm": Message(
        "all items of the training log among themselves, but those of the user's training and validation part"
    ),
    "harmonic": Message(
        "all new items of the test part and all items of the training log in common lists, but those of the user's "
        "training and validation part"
    ),
}
TRAIN_HIDDEN = Message("all items but those of the user's training part")
#: Links from the report to what the sweep wrote beside it.
LEDGER, MANIFEST = str(paths.ledger_file(Path(".."))), str(paths.manifest_file(Path("..")))
CELL = paths.cell_file(Path()).name
#: Evidence within the report.
FAIRNESS, TABLE, VERDICTS = f"{paths.FAIRNESS}.md", f"{paths.TABLE}.md", f"{paths.VERDICTS}.md"


@dataclass(frozen=True)
class Answer:
    """One item.

    Args:
        checklist: its checklist.
        item: what is asked.
        answer: one of the words above.
        reason: one or two sentences.
        evidence: files beside the checklist that prove it.
    """

    checklist: str
    item: str
    answer: str
    reason: str
    evidence: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """Who answered."""
        return Message("person") if self.answer == OPEN else Message("records")


@dataclass(frozen=True)
class SweepTotals:
    """What the records say of the whole sweep."""

    trainings: int
    failed: int
    hours: float
    kwh: float | None
    devices: tuple[str, ...]
    cells: tuple[Cell, ...]
    protocols: tuple[str, ...]
    ranked: Mapping[Message, Sequence[str]]

    @property
    def versions(self) -> str:
        """Versions of what decides numbers."""
        versions = sorted({f"{k} {v}" for cell in self.cells for k, v in cell.versions.items() if v})
        return ", ".join(versions) or NOT_RECORDED

    @property
    def candidates(self) -> str:
        """What is ranked on test, by data set where it is not the same for all."""
        if len(self.ranked) < 2:
            return next(iter(self.ranked), NOT_RECORDED)
        return clauses(
            [
                Message("{ranked} ({datasets})", ranked=ranked, datasets=series(sorted(datasets)))
                for ranked, datasets in self.ranked.items()
            ]
        )

    @property
    def feature_sets(self) -> int:
        """The most versions of one modality of a data set, which encoders make."""
        versions: dict[tuple[str, str], set[str]] = {}
        for cell in self.cells:
            for modality, version in cell.features.items():
                versions.setdefault((cell.config["dataset"].get("name", cell.dataset), modality), set()).add(version)
        return max(map(len, versions.values()), default=1)

    @property
    def data(self) -> str:
        """Sizes of the data sets."""
        lines = dict.fromkeys(cell.data[0] for cell in self.cells if cell.data)
        return clauses([recorded_sizes(line) for line in lines]) if lines else NOT_RECORDED


def read_ledger(table: SweepTable) -> SweepTotals:
    """Sum up the ledger and the cells of a sweep."""
    rows = list(read_rows(table.folder))
    status = Counter(row.status for row in rows)
    seconds = sum(row.cost.spent for row in rows)
    energy = [row.cost.energy_kwh for row in rows if row.cost.energy_kwh is not None]
    done = [cell for cell in table.cells.values() if cell.status == "done" and not cell.parts]
    seals = [records.read(paths.seal_file(cell.folder), Seal) for cell in done]
    cells = [records.read(paths.cell_file(cell.folder), Cell) for cell in done]
    ranked: dict[Message, list[str]] = {}
    for dataset, target, masked in sorted(
        {(cell.dataset, cell.target, seal.valid_masked) for cell, seal in zip(cells, seals, strict=True)}
    ):
        ranked.setdefault(RANKED[target] if masked else TRAIN_HIDDEN, []).append(dataset)
    return SweepTotals(
        len(rows),
        len(rows) - status["ok"],
        seconds / 3600,
        sum(energy) if energy and len(energy) == len(rows) else None,
        tuple(sorted({row.cost.device for row in rows if row.cost.device})),
        tuple(cells),
        tuple(sorted({seal.protocol for seal in seals})),
        ranked,
    )


def answers(
    table: SweepTable, comparisons: Sequence[Comparison], groups: Sequence[Group], measured: Sequence[Facts]
) -> list[Answer]:
    """Every item of every checklist.

    Args:
        table: the sweep.
        comparisons: its contrasts.
        groups: its fairness report.
        measured: contribution measures, with the guard-rails of every contrast.
    """
    ledger = read_ledger(table)
    return [
        *_neurips(table, comparisons, ledger),
        *_pineau_data(table, ledger),
        *_pineau_runs(table, comparisons, ledger),
        *_acm(ledger),
        *_recsys(table, comparisons, groups, ledger),
        _guardrails(measured),
    ]


def _judged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Contrasts with an interval that is spoken of."""
    return [c for c in comparisons if is_spoken_of(c) and c.inference is not None]


def _significance(table: SweepTable, comparisons: Sequence[Comparison]) -> tuple[Message, Message]:
    """What is inferred, and from what."""
    judged = _judged(comparisons)
    if not judged:
        planned = filter(is_counted, comparisons)
        why = dict.fromkeys(c.judgement.reason if c.judgement else c.pending for c in planned)
        if not why:
            return NO, Message("No two conditions are compared, so nothing is inferred.")
        return NO, Message("Nothing is inferred: {reasons}.", reasons=clauses(list(why)))
    return YES, Message.counted(
        "{n} contrast in {metric}, the gain after tuning with a third of the trials, with an interval {units}; Holm "
        "and Benjamini-Hochberg adjusted; metric and equivalence margin {margin} % fixed before the sweep. Valid for "
        "random search in the spaces given.",
        "{n} contrasts in {metric}, each the gain after tuning with a third of the trials, with intervals {units}; "
        "Holm and Benjamini-Hochberg adjusted; metric and equivalence margin {margin} % fixed before the sweep. Valid "
        "for random search in the spaces given.",
        len(judged),
        metric=metric_of_all(table.primary, table),
        margin=f"{100 * table.delta:g}",
        units=clauses(list(_units(judged))),
    )


def _units(judged: Sequence[Comparison]) -> Iterator[str]:
    """What the intervals are over, and how: users and trials, and what varies between repetitions."""
    varied: dict[Repeated, list[str]] = {kind: [] for kind in Repeated}
    for c in judged:
        if c.over is not None and c.over.data not in varied[c.over.kind]:
            varied[c.over.kind].append(c.over.data)
    if any(c.over is None or c.over.kind is Repeated.SPLIT for c in judged):
        yield Message(
            "over the draw of trials, users and the seed of the default configuration (jackknife of a U-statistic, "
            "Satterthwaite, Student's t; no normality of single users is assumed)"
        )
    if varied[Repeated.SPLIT]:
        yield Message(
            "between the split seeds of {datasets} too (their variance divided by their number is added, with the "
            "least of the degrees of freedom)",
            datasets=series(sorted(varied[Repeated.SPLIT])),
        )
    if varied[Repeated.FOLD]:
        yield Message(
            "over the folds of new items of {datasets}, which are the unit there (Student's t with one degree of "
            "freedom less than there are folds)",
            datasets=series(sorted(varied[Repeated.FOLD])),
        )
    if any(c.over is None for c in judged):
        yield (
            Message("the split does not vary")
            if not any(varied.values())
            else Message("in other data sets the split does not vary")
        )


def _settings(table: SweepTable) -> tuple[Message, Message]:
    """How configurations were searched, chosen and judged; of those that were given, these records do not tell it."""
    had, origins = spent_by(table), origins_of(table.cells.values())
    if origins:
        described = Message(
            "Describe the tuning ({origins}). Here: {seeds}; judged on {metric}. Values and splits stand in the "
            "records.",
            origins=clauses(origins),
            seeds=counted(had.seeds, SEEDS),
            metric=metric_of_all(table.primary, table),
        )
        return _but_external(table, (OPEN, described))
    described = Message(
        "{trials} of every condition with the same configurations, chosen by {validation} on validation, then "
        "{seeds}; judged on {metric}. Ranges, chosen values and splits stand in the records.",
        trials=counted(had.trials, TRIALS),
        validation=metric_of_all(SELECTION_METRIC, table),
        seeds=counted(had.seeds, SEEDS),
        metric=metric_of_all(table.primary, table),
    )
    return _but_external(table, (YES, described))


def _compute(ledger: SweepTotals) -> tuple[Message, Message]:
    if not ledger.trainings:
        return NO, Message("The ledger is empty.")
    return YES, Message.counted(
        "{n} training, {failed} failed, {hours} hours in all on {devices}, {energy}. Every training has a row.",
        "{n} trainings, {failed} of them failed, {hours} hours in all on {devices}, {energy}. Every training has a "
        "row.",
        ledger.trainings,
        failed=ledger.failed,
        hours=quantity(ledger.hours),
        devices=series(ledger.devices) if ledger.devices else Message("a device that was not recorded"),
        energy=Message("energy was not measured") if ledger.kwh is None else f"{quantity(ledger.kwh)} kWh",
    )


def _answer(checklist: str, name: str, answer: str, reason: str, *evidence: str) -> Answer:
    return Answer(checklist, name, answer, reason, evidence)


def _protocols(ledger: SweepTotals) -> str:
    return series(ledger.protocols) if ledger.protocols else NOT_RECORDED


def _neurips(table: SweepTable, comparisons: Sequence[Comparison], ledger: SweepTotals) -> Iterator[Answer]:
    item = functools.partial(_answer, NEURIPS)
    names, same = listed(dict.fromkeys(c.contrast for c in comparisons)), same_data(table)
    yield item(
        Message("1 Claims"),
        OPEN,
        Message(
            "Every claim about a difference should name model, trials, data and one of: {contrasts}.", contrasts=names
        ),
        VERDICTS,
    )
    features = Message.counted(
        "one feature set per modality and data set",
        "at most {n} feature sets per modality and data set",
        ledger.feature_sets,
    )
    alone = dict.fromkeys(
        c.over.data for c in comparisons if c.over and c.over.kind is Repeated.FOLD and len(c.over.datasets) == 1
    )
    drawn = [Message("one draw of new items in {datasets}", datasets=listed(alone))] if alone else []
    limits = Message.counted(
        "Say at least: {n} data set; {features}; offline metrics only.",
        "Say at least: {n} data sets; {features}; offline metrics only.",
        len({same(cell.data or cell.dataset) for cell in table.cells.values()}),
        features=clauses([features, *drawn]),
    )
    yield item(Message("2 Limitations"), OPEN, limits, TABLE)
    yield item(Message("3 Theory"), NOT_APPLICABLE, Message("There are no theorems."))
    yield item(
        Message("4 Reproducibility of results"),
        YES,
        Message(
            "Every number is computed from records; python -m mmbench verify computes every table of a bundle again."
        ),
        MANIFEST,
        LEDGER,
    )
    yield item(
        Message("5 Open access to data and code"),
        OPEN,
        Message("The code is under Apache-2.0; say where data and bundle lie."),
    )
    yield item(Message("6 Experimental setting"), *_settings(table), FAIRNESS, MANIFEST)
    answer, reason = _significance(table, comparisons)
    yield item(Message("7 Statistical significance"), answer, reason, VERDICTS)
    answer, spent = _compute(ledger)
    yield item(Message("8 Compute resources"), answer, spent, LEDGER, FAIRNESS)
    for name in (Message("9 Code of ethics"), Message("10 Broader impacts"), Message("11 Safeguards")):
        yield item(name, OPEN, FOR_A_PERSON)
    yield item(
        Message("12 Licences of existing assets"), OPEN, Message("Name the licence of every data set and encoder.")
    )
    yield item(Message("13 New assets"), OPEN, Message("If a data set or model is released, document it."))
    for name in (Message("14 Human subjects"), Message("15 Review board"), Message("16 Use of language models")):
        yield item(name, OPEN, FOR_A_PERSON)


def _pineau_data(table: SweepTable, ledger: SweepTotals) -> Iterator[Answer]:
    item = functools.partial(_answer, PINEAU)
    described = _but_own_classes(ledger, Message("Each model file names its paper and formula."))
    yield item(Message("Clear description of the models"), *_but_external(table, described))
    sized = any(cell.data for cell in ledger.cells)
    yield item(Message("Statistics of the data"), YES if sized else NO, ledger.data, MANIFEST)
    yield item(
        Message("Splits"),
        YES if ledger.protocols else NO,
        Message(
            "Protocol {protocols}; one frozen split with its hash in every record, shared by all conditions.",
            protocols=_protocols(ledger),
        ),
        FAIRNESS,
    )
    yield item(
        Message("Excluded data and preprocessing"),
        YES,
        Message(
            "k-core, smallest rating and items without content are settings of the data set in every {file}.", file=CELL
        ),
        MANIFEST,
    )
    yield item(Message("Link to the data"), OPEN, Message("Say where the data can be had."))


def _pineau_runs(table: SweepTable, comparisons: Sequence[Comparison], ledger: SweepTotals) -> Iterator[Answer]:
    item = functools.partial(_answer, PINEAU)
    yield item(Message("Ranges of hyper-parameters, how the best were chosen"), *_settings(table), FAIRNESS)
    yield item(
        Message("Exact number of training and evaluation runs"),
        YES if ledger.trainings else NO,
        Message.counted(
            "{n} training in the ledger, failed ones included.",
            "{n} trainings in the ledger, failed ones included.",
            ledger.trainings,
        ),
        LEDGER,
    )
    defined = Message(
        "{metrics}; ranked: {ranked}; formulas in docs/protocol.md.",
        metrics=series(table.metrics),
        ranked=ledger.candidates,
    )
    own = [metric for metric in table.metrics if metrics.is_own(metric.partition("@")[0])]
    if own:
        defined = Message(
            "{reason} Not so of metrics that are no part of mmbench: {metrics}.", reason=defined, metrics=series(own)
        )
    yield item(Message("Definition of the metrics"), OPEN if own else YES, defined, TABLE)
    yield item(Message("Central tendency and variation"), *_variation(table, comparisons), TABLE, VERDICTS)
    answer, spent = _compute(ledger)
    yield item(Message("Average runtime, energy"), answer, spent, LEDGER)
    devices = series(ledger.devices) if ledger.devices else Message("device not recorded")
    built = Message("{devices}; {versions}.", devices=devices, versions=ledger.versions)
    yield item(Message("Computing infrastructure"), YES if ledger.devices else NO, built, LEDGER)


def _variation(table: SweepTable, comparisons: Sequence[Comparison]) -> tuple[Message, Message]:
    """Whether every value has its variation over seeds, and which intervals there are."""
    had, units = spent_by(table), list(_units(_judged(comparisons)))
    if not had.measured:
        return NO, Message("Mean over users; one seed, so no standard deviation.")
    spread = Message("Mean and standard deviation over seeds.")
    if units:
        spread = Message(
            "Mean and standard deviation over seeds; intervals of tuned gains {units}.", units=clauses(units)
        )
    if not had.unmeasured:
        return YES, spread
    return NO, Message("{reason} Not so of {models}: one seed.", reason=spread, models=series(had.unmeasured))


def _acm(ledger: SweepTotals) -> Iterator[Answer]:
    item = functools.partial(_answer, ACM)
    yield item(
        Message("Artifacts available"), OPEN, Message("Put the bundle into an archive with a DOI and name its licence.")
    )
    yield item(
        Message("Artifacts evaluated: functional"),
        OPEN,
        Message(
            "Documented, consistent, complete, exercisable: python -m "
            "mmbench bundle packs records, environment, hashes and a command per table."
        ),
        MANIFEST,
    )
    yield item(
        Message("Artifacts evaluated: reusable"), OPEN, Message("Versions: {versions}.", versions=ledger.versions)
    )
    yield item(
        Message("Results reproduced"),
        OPEN,
        Message("By another team with these artifacts: python -m mmbench verify, then the command of the manifest."),
    )
    yield item(Message("Results replicated"), OPEN, Message("By another team without these artifacts."))


def _recsys(
    table: SweepTable, comparisons: Sequence[Comparison], groups: Sequence[Group], ledger: SweepTotals
) -> Iterator[Answer]:
    item = functools.partial(_answer, RECSYS)
    answer, reason = _of_tuning(table, _equal_effort(table, groups))
    yield item(Message("Were baselines tuned with equal effort?"), answer, reason, FAIRNESS)
    answer, reason = _but_external(table, _same_split(groups))
    yield item(Message("The same split for all?"), answer, reason, FAIRNESS)
    claim = Message("The choice is hashed before the test split is opened; tuning code cannot import it.")
    answer, reason = _of_tuning(table, _by_checks(groups, CHOICE, claim))
    yield item(Message("Was the choice made on validation data?"), answer, reason, FAIRNESS)
    answer, reason = _significance(table, comparisons)
    yield item(Message("Which statistical test, over which unit?"), answer, reason, VERDICTS)
    yield item(
        Message("How many seeds?"),
        YES,
        Message("{seeds}, apart from the tuning seeds.", seeds=counted(spent_by(table).seeds, SEEDS)),
        FAIRNESS,
    )
    future = Message(
        "Protocol {protocols}. A random split per user (paper) knows the future, a split by time does not.",
        protocols=_protocols(ledger),
    )
    answer, reason = _but_external(table, (YES if ledger.protocols == ("time",) else OPEN, future))
    yield item(Message("Is nothing of the future seen?"), answer, reason, MANIFEST)
    simple = simple_baselines(cell for cell in table.cells.values() if cell.status == "done")
    yield item(
        Message("Simple baselines?"),
        YES if simple else NO,
        series(simple) if simple else Message("Of {models} none has a result in this sweep.", models=series(SIMPLE)),
        TABLE,
    )
    yield item(Message("Ranges and chosen values of all methods?"), *_settings(table), FAIRNESS)
    yield item(
        Message("Full ranking?"),
        YES if ledger.ranked else NO,
        Message("Ranked, none of them sampled: {ranked}.", ranked=ledger.candidates),
        TABLE,
    )
    claim = Message("One file per model, tuned by the same command.")
    answer, reason = _but_external(table, _but_another_class(table, (YES, claim)))
    yield item(Message("Code of baselines?"), answer, reason, MANIFEST)


def _by_checks(groups: Sequence[Group], names: Collection[str], claim: Message) -> tuple[Message, Message]:
    """What the checks of these names answer; records that do not stand up to an audit prove nothing.

    Args:
        groups: the fairness report.
        names: names of its checks.
        claim: what is true where none of them fails.
    """
    asked = {RECORDS, *names}
    against = [f"{g.dataset}/{g.model}" for g in groups if any(c.name in asked and c.level == FAIL for c in g.checks)]
    if against or not groups:
        return NO, Message("Not for {models}.", models=series(against)) if against else Message(
            "There is no fairness report."
        )
    return YES, claim


def _same_split(groups: Sequence[Group]) -> tuple[Message, Message]:
    """Whether all conditions, and all models of a data set, saw and were tested on the same interactions."""
    splits: dict[str, set[tuple[str, str]]] = {}
    for group in groups:
        splits.setdefault(group.dataset, set()).update((c.cell.split_hash, c.seal.test_hash) for c in group.cells)
    answer, reason = _by_checks(groups, SPLIT, Message("Fingerprints of train, validation and test are compared."))
    unlike = sorted(dataset for dataset, hashes in splits.items() if len(hashes) > 1)
    if answer == YES and unlike:
        return NO, Message("Not for all models of {datasets}.", datasets=series(unlike))
    return answer, reason


def _equal_effort(table: SweepTable, groups: Sequence[Group]) -> tuple[Message, Message]:
    """Whether all conditions of a model, and all models of a data set, were tuned with the same effort.

    Less effort than others is no fault of a model whose every configuration was tried, nor are fewer final runs of one
    that is computed, where one tells as much as many.
    """
    others = {check.name for group in groups for check in group.checks} - {*SPLIT, *CHOICE}
    claim = Message("Same trials, configurations, seeds and training rule, checked.")
    if failed := ["/".join(name) for name, cell in table.cells.items() if cell.status == "failed"]:
        claim = Message("{claim} Failed, and without a result: {cells}.", claim=claim, cells=series(failed))
    answer, reason = _by_checks(groups, others, claim)
    tuned = [group for group in groups if not any(cell.cell.is_external for cell in group.cells)]
    unlike = [] if answer == NO else [said for name in _datasets(tuned) for said in _unlike(tuned, name)]
    if unlike:
        return NO, Message("Not the same for all models: {efforts}.", efforts=clauses(unlike))
    return answer, reason


def _of_tuning(table: SweepTable, answered: tuple[Message, Message]) -> tuple[Message, Message]:
    """An answer about tuning; where cells took their configurations from elsewhere, these records do not show it."""
    origins = origins_of(table.cells.values())
    if answered[0] == YES and origins:
        answered = OPEN, Message("These records do not show it ({origins}).", origins=clauses(origins))
    return _but_external(table, answered)


def _but_external(table: SweepTable, answered: tuple[Message, Message]) -> tuple[Message, Message]:
    """An answer that holds for what ran here; a person has to give that for lists of another system."""
    rows = external_rows(table.cells.values())
    if answered[0] == NO or not rows:
        return answered
    return OPEN, Message(
        "{reason} Not shown for {rows}: lists of another system, whose code, tuning and training data these records "
        "do not hold.",
        reason=answered[1],
        rows=series(rows),
    )


def _but_another_class(table: SweepTable, answered: tuple[Message, Message]) -> tuple[Message, Message]:
    """An answer that holds for models of the package, and not for a class of somebody's own under the name of one."""
    named = {f"{c.dataset}/{c.model}": c.another_class for c in table.cells.values() if c.another_class}
    if not named:
        return answered
    each = clauses([Message("{name} is {other}", name=name, other=other) for name, other in sorted(named.items())])
    return OPEN, Message("{reason} Not so where another class has the name: {each}.", reason=answered[1], each=each)


def _but_own_classes(ledger: SweepTotals, reason: Message) -> tuple[Message, Message]:
    """What holds of the models of the package, and not of classes of somebody's own, whatever their names."""
    trained = {f"{cell.dataset}/{cell.model}": cell.config.get("model", {}).get("_target_") for cell in ledger.cells}
    own = {name: target for name, target in sorted(trained.items()) if target and not is_packaged(target)}
    if not own:
        return YES, reason
    each = clauses([Message("{name} is {other}", name=name, other=other) for name, other in own.items()])
    return OPEN, Message("{reason} Not so of classes that are no part of mmbench: {each}.", reason=reason, each=each)


def _datasets(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(group.dataset for group in groups))


def _unlike(groups: Sequence[Group], dataset: str) -> list[Message]:
    """The effort of each model of a data set where one had less than another; nothing where none had."""
    of = {group.model: group.cells for group in groups if group.dataset == dataset}
    cells = [cell for members in of.values() for cell in members]
    most = max(cell.choice.n_trials for cell in cells), max(len(cell.seal.finals) for cell in cells)
    fewer = any(cell.choice.n_trials < most[0] and not cell.exhausted for cell in cells)
    if not fewer and not any(len(cell.seal.finals) < most[1] and not cell.exact for cell in cells):
        return []
    return [
        Message(
            "{model} with T {trials} and S {seeds}",
            model=f"{dataset}/{model}",
            trials=span([cell.choice.n_trials for cell in members]),
            seeds=span([len(cell.seal.finals) for cell in members]),
        )
        for model, members in of.items()
        if not all(cell.exhausted and cell.exact for cell in members)
    ]


#: The one question whose answer needs the data set.
PRICE = Message("Does nothing get worse beside the accuracy?")


def _guardrails(measured: Sequence[Facts]) -> Answer:
    """Whether a gain has a price: coverage, long tail, new items and items that lack the content which is added."""
    rails = [(facts, fact) for facts in measured for fact in facts.facts if fact.measure == GUARDRAILS]
    if not rails:
        lacking = Message("No guard-rail was measured: the data set or a second seed is missing.")
        return Answer(RECSYS, PRICE, OPEN, lacking)
    rails = [(facts, fact) for facts, fact in rails if not facts.one_draw]
    if not rails:
        alone = Message("Guard-rails were measured for single draws of new items alone, of which none is judged.")
        return Answer(RECSYS, PRICE, OPEN, alone, (f"{paths.CONTRIBUTION}.md",))
    rails = [(facts, fact) for facts, fact in rails if facts.fairness != FAIL]
    if not rails:
        doubted = Message("Guard-rails were measured of models alone whose measurement is not trusted.")
        return Answer(RECSYS, PRICE, OPEN, doubted, (f"{paths.CONTRIBUTION}.md", FAIRNESS))
    by_word = {word: [pair for pair in rails if pair[1].word == word] for word in Rail}
    broken = [
        Message(
            "{rail} of {cell}",
            rail=rail_name(fact.part.removeprefix("relative change of ")),
            cell=f"{facts.dataset}/{facts.model} {fact.subject}",
        )
        for facts, fact in by_word[Rail.BROKEN]
    ]
    given = {
        "counts": series([Message("{n} {status}", n=len(by_word[word]), status=RAILS[word]) for word in Rail]),
        "margin": f"{100 * MARGIN:g}",
    }
    reason = Message(
        "Guard-rails of all contrasts, as far as they could be measured: {counts}. One holds where the loss is below "
        "{margin} % at 95 % confidence.",
        **given,
    )
    if broken:
        reason = Message("{reason} Broken: {rails}.", reason=reason, rails=clauses(broken))
    answer = YES if len(by_word[Rail.HOLDS]) == len(rails) else NO
    return Answer(RECSYS, PRICE, answer, reason, (f"{paths.CONTRIBUTION}.md",))


COLUMNS: Sequence[Column[Answer]] = (
    Column(None, Message("item"), lambda a: a.item),
    Column(None, Message("answer"), lambda a: a.answer),
    Column(None, Message("why"), lambda a: a.reason),
    Column(
        None,
        Message("evidence"),
        lambda a: ", ".join(f"[{file}]({file})" for file in a.evidence) or None,
        markdown=True,
    ),
    Column(None, Message("filled by"), lambda a: a.status),
)


def as_markdown(table: SweepTable, answered: Sequence[Answer], say: Translator = ENGLISH) -> str:
    """All checklists as GitHub Markdown with links."""
    pieces = [
        f"# {md(say(Message('Checklists for {sweep}', sweep=table.title)))}",
        say(Message("Filled from the records; what waits for a person says so.")),
        md(say(Message("{proof}.", proof=table.proof))),
    ]
    for checklist in dict.fromkeys(a.checklist for a in answered):
        rows = [_in_language(a, say.lang) for a in answered if a.checklist == checklist]
        pieces += [f"## {say(checklist)}", markdown_table(Table(checklist, COLUMNS, rows), say)]
    return "\n\n".join(pieces) + "\n"


def _in_language(answer: Answer, lang: str) -> Answer:
    """An answer whose evidence is the documents in a language; records have none."""
    named = (file.rpartition(".") for file in answer.evidence)
    shown = (paths.document(stem, ending, lang if ending == "md" else "en") for stem, _, ending in named)
    return replace(answer, evidence=tuple(shown))


def as_latex(answered: Sequence[Answer]) -> str:
    """All checklists for the appendix of a paper; needs no package."""
    lines = []
    for checklist in dict.fromkeys(a.checklist for a in answered):
        lines += [rf"\section*{{{tex(checklist)}}}", r"\begin{itemize}"]
        for a in (a for a in answered if a.checklist == checklist):
            evidence = f" Evidence: {', '.join(a.evidence)}." if a.evidence else ""
            lines.append(rf"\item \textbf{{{tex(a.item)}}} [{tex(a.answer)}] {tex(a.reason + evidence)}")
        lines.append(r"\end{itemize}")
    return "\n".join(lines) + "\n"
