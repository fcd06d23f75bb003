"""What each modality contributes to each dataset and model, measured from the records of a sweep."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmbench import paths
from mmbench.data.divisions import (
    CATEGORY,
    DIVISIONS,
    LENGTH,
    POPULARITY,
    Slicing,
    by_category,
    by_length,
    by_popularity,
)
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import Ranking
from mmbench.inference import intervals
from mmbench.inference.contribution import hits, rankings, shapley, slices
from mmbench.inference.contribution.guardrails import MARGIN
from mmbench.inference.contribution.shapley import EMPTY, Coalition
from mmbench.inference.repetitions import Repeated, mean_over_folds
from mmbench.inference.verdicts import MIN_SEEDS, Verdict
from mmbench.messages import Message, Template, conjoined, message_of
from mmbench.report import new_items
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.comparisons import LEVELS, Comparison
from mmbench.report.facts import Fact, Facts, K
from mmbench.report.facts import document as facts_document
from mmbench.report.fairness_checks import FAIL, Group
from mmbench.report.layout import Document
from mmbench.report.list_facts import BEYOND, GUARDRAILS, Lists, beyond_facts, guardrail_facts, read_lists
from mmbench.report.sentences import metric_among
from mmbench.report.table import LATE, CellResult, SweepTable, comparable
from mmbench.report.together import Repetitions, draws_of_new_items, read_repetitions
from mmbench.store import records
from mmbench.store.schema import ID_ONLY, Choice

REDUNDANCY = Message("redundancy share")
VALUES, HITS = Message("M1 value"), Message("M2 hits")
EXCESS, OVERLAP = Message("M2 hits beyond the noise floor"), Message("M3 overlap and headroom")
RELIANCE = Message("reliance")
SLICES, DIFFERENCES = Message("M6 slices"), Message("M6 slices, difference")
NEW_ITEMS, FOUND_OF_1000 = Message("M7 new items"), Message("found of 1,000")
AMONG_NEW = Message("NDCG@20 among new items")
#: Measures that need the data set, and what is said where it cannot be read.
ON_DATA = (SLICES, DIFFERENCES, BEYOND, GUARDRAILS)
UNREAD = Template("slices, list measures and guard-rails: {reason}")


def read_contributions(table: SweepTable, groups: Sequence[Group], comparisons: Sequence[Comparison]) -> list[Facts]:
    """Measure every dataset and model that has results under two conditions at least.

    Args:
        table: the sweep.
        groups: its fairness report.
        comparisons: its contrasts; slices and guard-rails are of these.
    """
    levels = {(group.dataset, group.model): group.level for group in groups}
    catalogues: dict[str, Catalogue | str] = {}
    measured = []
    repeated = read_repetitions(table, groups)
    draws = draws_of_new_items(repeated)
    for dataset in table.datasets:
        for model in table.models(dataset):
            cells = [
                c
                for (d, m, _), c in table.cells.items()
                if (d, m) == (dataset, model) and c.status == "done" and not c.parts
            ]
            if len(cells) < 2 or any(c.modality == ID_ONLY for c in cells):
                continue
            if dataset not in catalogues:
                catalogues[dataset] = read_catalogue(cells[0], table.trust)
            compared = [
                c for c in comparisons if (c.dataset, c.model) == (dataset, model) and c.configuration is not None
            ]
            level = levels.get((dataset, model), "-")
            words = words_of(comparisons, dataset, model)
            measured.append(
                measure_model(
                    table, cells, compared, catalogues[dataset], level, one_draw=dataset in draws, words=words
                )
            )
    return [*measured, *_over_folds(measured, repeated)]


#: What a verdict is called where A and B change places.
MIRRORED: Mapping[Verdict | None, Verdict] = {
    Verdict.BETTER: Verdict.WORSE,
    Verdict.BETTER_SMALL: Verdict.WORSE_SMALL,
    Verdict.WORSE: Verdict.BETTER,
    Verdict.WORSE_SMALL: Verdict.BETTER_SMALL,
}
#: Verdicts on tuned gains by the modalities that A and B have; None where one was judged and has no word.
Words = Mapping[tuple[Coalition, Coalition], Verdict | None]


def words_of(comparisons: Sequence[Comparison], dataset: str, model: str) -> Words:
    """What was judged of a data set and model, or of the repetitions that the data set is one of."""
    words: dict[tuple[Coalition, Coalition], Verdict | None] = {}
    for c in comparisons:
        datasets = (c.dataset,) if c.over is None else c.over.datasets
        if c.model != model or dataset not in datasets or c.judgement is None:
            continue
        sides = [coalition(side) if side.status == "done" else None for side in (c.a, c.b)]
        if sides[0] is not None and sides[1] is not None:
            # A repetition has no word of its own; that of all of them comes before it.
            words.setdefault((sides[0], sides[1]), c.judgement.word)
            words.setdefault((sides[1], sides[0]), MIRRORED.get(c.judgement.word, c.judgement.word))
    return words


def _over_folds(measured: Sequence[Facts], repeated: Sequence[Repetitions]) -> Iterator[Facts]:
    """What the conditions of each model find of new items, over folds of which at least two were measured."""
    by_name = {(facts.dataset, facts.model): facts for facts in measured}
    for over in (over for over in repeated if over.kind is Repeated.FOLD):
        for model in dict.fromkeys(facts.model for facts in measured if facts.dataset in over.datasets):
            members = {name: by_name[name, model] for name in over.datasets if (name, model) in by_name}
            if len(members) < 2 or not (found := new_items_over_folds(list(members.values()))):
                continue
            level = max((facts.fairness for facts in members.values()), key=LEVELS.index)
            seeds = min(facts.seeds for facts in members.values())
            # New items are measured under every condition, controls included.
            exact = all(facts.exact and not facts.unmeasured for facts in members.values())
            yield Facts(over.of(list(members)).name, model, seeds, level, over_folds=True, exact=exact, facts=found)


def new_items_over_folds(folds: Sequence[Facts]) -> list[Fact]:
    """M7 over at least two folds: mean of every measure that all of them tell, with bounds over the folds alone."""
    by_fold = [{(f.subject, f.part): f for f in facts.facts if f.measure == NEW_ITEMS} for facts in folds]
    joined = []
    for subject, part in by_fold[0]:
        own = [found[subject, part] for found in by_fold if (subject, part) in found]
        if len(own) < len(by_fold) or not all(math.isfinite(fact.value) for fact in own):
            continue
        interval = mean_over_folds([fact.value for fact in own])
        baselines = [fact.baseline for fact in own if fact.baseline is not None]
        baseline = float(np.mean(baselines)) if len(baselines) == len(own) else None
        n = sum(fact.n or 0 for fact in own)
        joined.append(Fact(NEW_ITEMS, subject, part, interval.mean, interval, baseline, n=n))
    return joined


def measure_model(
    table: SweepTable,
    cells: Sequence[CellResult],
    compared: Sequence[Comparison],
    data: Catalogue | str,
    level: str,
    *,
    one_draw: bool = False,
    words: Words | None = None,
) -> Facts:
    """Measure one dataset and model.

    Args:
        table: the sweep.
        cells: its finished conditions, in any order.
        compared: its contrasts that have a gain.
        data: its data set, or why there is none.
        level: level of its fairness report.
        one_draw: whether it is one draw of new items.
        words: verdicts on its tuned gains, which no reading contradicts.
    """
    seeds, trials = len(cells[0].seeds), records.read(paths.choice_file(cells[0].folder), Choice).n_trials
    metric = metric_among(table.primary, cells[0].target)
    about = Message(
        "the chosen configurations ({metric}, trials: {trials}, final seeds: {seeds})",
        metric=metric,
        trials=trials,
        seeds=seeds,
    )
    exact = all(cell.exact for cell in coalitions(cells).values() or cells)
    facts = Facts(cells[0].dataset, cells[0].model, seeds, level, about, one_draw, exact=exact)
    measure(facts, _in_order(table, cells), compared, data, table.primary, words or {})
    return facts


def with_redundancy(comparisons: Sequence[Comparison], measured: Sequence[Facts]) -> list[Comparison]:
    """Contrasts of everything against everything but one modality, with the redundancy share of that modality."""
    shares = {(f.dataset, f.model, x.subject): x.value for f in measured for x in f.facts if x.part == REDUNDANCY}

    def share(comparison: Comparison) -> float | None:
        if comparison.configuration is None or set(comparison.a.states.values()) != {"real"}:
            return None
        added = [name for name, state in comparison.b.states.items() if state != "real"]
        if len(added) != 1 or comparison.b.states[added[0]] != "drop":
            return None
        return shares.get((comparison.dataset, comparison.model, added[0]))

    return [replace(c, redundancy=share(c)) for c in comparisons]


def _in_order(table: SweepTable, cells: Sequence[CellResult]) -> list[CellResult]:
    return sorted(cells, key=lambda cell: table.conditions.index(cell.modality))


def measure(
    facts: Facts,
    cells: Sequence[CellResult],
    compared: Sequence[Comparison],
    data: Catalogue | str,
    metric: str,
    words: Words,
) -> None:
    """Measure one dataset and model; what cannot be measured is said.

    Args:
        facts: takes what is found.
        cells: its finished conditions in table order.
        compared: its contrasts that have a gain.
        data: its data set, or why there is none.
        metric: metric of the values.
        words: verdicts on its tuned gains.
    """
    if not all(comparable(cell, cells[0]) for cell in cells):
        facts.unknown.append(Message("everything: the conditions differ in final seeds, test split or effort"))
        return
    noisy = [cell.modality for cell in cells if not cell.noise_known]
    facts.unmeasured += noisy if len(noisy) < len(cells) else []
    new_items_facts(facts, cells)
    game = coalitions(cells)
    _values(facts, game, metric, words)
    lists_of = functools.cache(read_lists)  # those of one model, which several measures are made of
    _hits(facts, game, lists_of)
    _reliance(facts, cells, metric)
    if isinstance(data, str):
        facts.unknown.append(Message(UNREAD, reason=data))
        return
    facts.unknown += data.unknown
    listed = []
    for c in compared:
        if c.a.parts or c.b.parts:
            facts.unknown.append(
                Message(
                    "slices and guard-rails of {contrast}: {late} averages lists and keeps none",
                    contrast=c.contrast,
                    late=LATE,
                )
            )
        else:
            listed.append(c)
    for c in listed:
        _slices(facts, c, data, metric)
    if cells[0].target == "cold":
        facts.unknown.append(Message("list measures and guard-rails: the lists of this target hold new items alone"))
        return
    beyond_facts(facts, cells, data, lists_of)
    guardrail_facts(facts, listed, data, lists_of)


def new_items_of_model(table: SweepTable, folds: Sequence[Sequence[CellResult]]) -> list[Fact]:
    """M7 of one model over folds, see :func:`new_items_over_folds`.

    Args:
        table: the sweep.
        folds: its finished conditions in each of at least two folds.
    """
    measured = []
    for cells in folds:
        facts = Facts(cells[0].dataset, cells[0].model, len(cells[0].seeds), "-")
        new_items_facts(facts, _in_order(table, cells))
        measured.append(facts)
    return new_items_over_folds(measured)


def new_items_facts(facts: Facts, cells: Sequence[CellResult]) -> None:
    """M7: how many of 1,000 new items that users took each condition puts into the first 20 places of common lists.

    Those are lists of users who hold out new items and others, and so are the interactions that are counted.

    Without any modality nothing tells new items apart, so that none is found but by luck: that condition, whose new
    items stand at random, is the baseline of the others.
    """
    found: dict[str, new_items.FoldMeasures] = {}
    for cell in cells:
        views = new_items.views_of(cell)
        if "cold" in views:
            found[cell.modality] = new_items.measure(cell, views)
    if not found:
        return
    none = next((c.modality for c in cells if c.modality in found and set(c.states.values()) == {"drop"}), None)
    for modality, measured in found.items():
        if (share := measured.values.get(new_items.FOUND)) is not None:
            luck = found[none].values.get(new_items.FOUND) if none is not None else None
            baseline = None if luck is None else 1000 * luck
            facts.add(NEW_ITEMS, modality, FOUND_OF_1000, 1000 * share, baseline=baseline, n=measured.common)
        value, floor = (measured.values[f"new {name}"] for name in (new_items.NDCG, f"floor of {new_items.NDCG}"))
        facts.add(NEW_ITEMS, modality, AMONG_NEW, value, baseline=floor, n=measured.pool)


def coalitions(cells: Sequence[CellResult]) -> dict[Coalition, CellResult]:
    """The cell of each subset of real modalities, all others dropped and none thinned out."""
    game: dict[Coalition, CellResult] = {}
    for cell in cells:
        if (subset := coalition(cell)) is not None:
            game.setdefault(subset, cell)
    return game


def coalition(cell: CellResult) -> Coalition | None:
    """The real modalities of a cell, all others dropped and none thinned out; None of any other cell."""
    if not cell.states or not set(cell.states.values()) <= {"real", "drop"}:
        return None
    return frozenset(name for name, state in cell.states.items() if state == "real")


def _values(facts: Facts, game: Mapping[Coalition, CellResult], metric: str, words: Words) -> None:
    """M1: Shapley values, marginals, redundancy, interactions."""
    try:
        contributions = shapley.contributions({subset: cell.per_user(metric) for subset, cell in game.items()})
    except ValueError as error:
        facts.unknown.append(Message("M1, M2 and M3: {reason}", reason=message_of(error)))
        return
    several = len(contributions.modalities) > 1
    for name, value in contributions.modalities.items():
        facts.add(VALUES, name, Message("added to nothing"), value.alone)
        if not several:
            continue
        facts.add(VALUES, name, Message("added to the others"), value.given_rest)
        facts.add(VALUES, name, Message("Shapley value"), value.shapley)
        if facts.one_draw:
            continue
        if value.redundancy is None:
            facts.unknown.append(
                Message(
                    "redundancy of {modality}: what it adds on its own is not shown to be above zero", modality=name
                )
            )
        elif facts.inferred:
            facts.add(VALUES, name, REDUNDANCY, value.redundancy)
    for (a, b), pair in contributions.pairs.items():
        facts.add(VALUES, conjoined([a, b]), INTERACTION[pair.log_agrees], pair.interaction)
    if facts.worded and facts.fairness != FAIL:
        facts.readings += readings(contributions, words)


#: The interaction of two modalities, by whether its sign is the same on the logarithm of the metric.
INTERACTION = {
    True: Message("interaction (sign of the log scale agrees)"),
    False: Message("interaction (sign of the log scale disagrees)"),
    None: Message("interaction (sign of the log scale not defined)"),
}
#: Words on a tuned gain that a reading of the chosen configurations may stand beside.
GAINED, LOST = (Verdict.BETTER, Verdict.BETTER_SMALL), (Verdict.WORSE, Verdict.WORSE_SMALL)
#: What a contrast is judged where its numbers are nothing to conclude from.
SILENT = (None, Verdict.FAILED, Verdict.UNTRUSTED, Verdict.DEPENDS_ON_TUNING)
#: All other words, beside which a use may be said not to be shown.
NOT_GAINED = tuple(word for word in Verdict if word not in (*GAINED, *SILENT))


#: What a modality does beside others, and where it is the only one.
ADDS = Template("{modality} adds to the others")
ADDS_ALONE = Template("{modality} improves on behaviour alone")
TAKES = Template("{modality} takes away from the others")
TAKES_ALONE = Template("{modality} is worse than behaviour alone")


def readings(contributions: shapley.Contributions, words: Words) -> Iterator[str]:
    """What M1 says in words of the chosen configurations; an interval over zero is never read as an absence.

    What the verdict on the tuned gain of the same contrast does not say too is left out: the configurations that one
    tuning chose may differ where the tuned conditions do not. Of a contrast that was judged and has no word nothing is
    said; one that was not planned leaves its reading alone. How two modalities work together is no contrast: it is
    read where of all contrasts of the conditions something may be concluded. Two help each other where both add to the
    others, and replace each other where both add something alone: of what takes away neither can be said.

    Args:
        contributions: the values.
        words: verdicts on tuned gains.
    """

    def agrees(contrast: tuple[Coalition, Coalition], told: Sequence[Verdict]) -> bool:
        return contrast not in words or words[contrast] in told

    everything = frozenset(contributions.modalities)
    several = len(everything) > 1
    for name, value in contributions.modalities.items():
        given_rest, alone = (everything, everything - {name}), (frozenset({name}), EMPTY)
        if value.given_rest.lo > 0:
            if agrees(given_rest, GAINED):
                yield Message(ADDS if several else ADDS_ALONE, modality=name)
        elif value.given_rest.hi < 0:
            if agrees(given_rest, LOST):
                yield Message(TAKES if several else TAKES_ALONE, modality=name)
        elif not agrees(given_rest, NOT_GAINED):
            continue
        elif several and value.alone.lo > 0:
            if agrees(alone, GAINED):
                yield Message(
                    "{modality} improves on behaviour alone, and is not shown to add to the others", modality=name
                )
        elif agrees(alone, NOT_GAINED):
            yield Message("no use of {modality} is shown with this encoder and model", modality=name)
    for (a, b), pair in contributions.pairs.items():
        values = [contributions.modalities[name] for name in (a, b)]
        if any(word in SILENT for word in words.values()):
            continue
        adding = [(everything, everything - {name}) for name in (a, b)]
        single = [(frozenset({name}), EMPTY) for name in (a, b)]
        add = all(value.given_rest.lo > 0 for value in values) and all(agrees(one, GAINED) for one in adding)
        improve = all(value.alone.lo > 0 for value in values) and all(agrees(one, GAINED) for one in single)
        if pair.interaction.lo > 0 and add:
            yield Message("{a} and {b} help each other", a=a, b=b)
        elif pair.interaction.hi < 0 and improve:
            yield Message("{a} and {b} replace each other in part", a=a, b=b)


def _hits(facts: Facts, game: Mapping[Coalition, CellResult], lists_of: Lists) -> None:
    """M2 and M3, for two modalities."""
    names = sorted(frozenset().union(*game))
    if len(names) != 2 or len(game) != 4:
        if len(game) > 1 and len(names) != 2:
            said = Message.counted(
                "M2 and M3: they compare two modalities, here is {n}",
                "M2 and M3: they compare two modalities, here are {n}",
                len(names),
            )
            facts.unknown.append(said)
        return
    a, b = names
    none, both = game[EMPTY], game[frozenset(names)]
    single = {name: game[frozenset({name})] for name in names}
    hits_of = {cell.modality: hits.hits(cell.rankings, K) for cell in (none, both, *single.values())}
    alone = {name: hits_of[cell.modality] for name, cell in single.items()}
    users = none.rankings[0].users
    for tested, other in ((a, b), (b, a)):
        subject = Message("testing {modality}", modality=tested)
        for part, share in hits.hit_attribution(
            hits_of[none.modality], alone, hits_of[both.modality], tested, users
        ).items():
            facts.add(HITS, subject, _hit_class(part), share.share, baseline=share.floor)
            if share.excess is not None and part not in (f"only_{other}", f"missed_{other}"):
                facts.add(EXCESS, subject, _hit_class(part), share.excess)
        if facts.seeds < MIN_SEEDS:
            continue
        overlap = hits.hit_overlap(alone[other], alone[tested], hits_of[both.modality], users)
        pair = Message("{modality} beside {other}", modality=tested, other=other)
        facts.add(OVERLAP, pair, Message("hits in common (Jaccard)"), overlap.jaccard, baseline=overlap.jaccard_seeds)
        beside, own = (lists_of(single[name]) for name in (other, tested))
        baseline = rankings.list_overlap(beside, beside)
        lists = rankings.list_overlap(beside, own)
        facts.add(OVERLAP, pair, Message("lists in common (RBO)"), lists, baseline=baseline)
        facts.add(OVERLAP, pair, Message("net headroom"), overlap.headroom)
        if overlap.realised is not None:
            facts.add(OVERLAP, pair, Message("realised share of it"), overlap.realised)
    if facts.seeds < MIN_SEEDS:
        facts.unknown.append(
            Message("noise floor, overlap and headroom: one seed does not tell flicker from an effect")
        )


#: Classes of hits that no modality names.
HIT_CLASSES = {
    "kept": Message(Template("kept", context="hits")),
    "redundant": Message(Template("redundant", context="hits")),
    "synergy": Message(Template("synergy", context="hits")),
    "lost": Message(Template("lost", context="hits")),
    "missed_several": Message(Template("missed_several", context="hits")),
    "net": Message(Template("net", context="hits")),
}


def _hit_class(name: str) -> Message:
    """A class of hits, see :func:`~mmbench.inference.contribution.hits.hit_classes`, as it is printed."""
    if name in HIT_CLASSES:
        return HIT_CLASSES[name]
    kind, _, modality = name.partition("_")
    return Message(Template("only_{modality}") if kind == "only" else Template("missed_{modality}"), modality=modality)


def _reliance(facts: Facts, cells: Sequence[CellResult], metric: str) -> None:
    """Relative change of the metric where one modality is shuffled at inference only."""
    for cell in cells:
        for name in paths.shuffled_modalities(cell.folder, cell.seeds[0]):
            files = [paths.final_file(cell.folder, seed, paths.shuffled_ranks(name)) for seed in cell.seeds]
            if all(file.exists() for file in files) and cell.mean(metric) > 0:
                by_seed = [metrics.per_user(records.read_ranking(file), metric) for file in files]
                change = intervals.bounded_gain(np.stack(by_seed, axis=1), cell.per_user(metric))
                part = Message("{modality} shuffled at inference", modality=name)
                # What is shuffled at inference is drawn by the seed, so that no model is exact there.
                facts.add(RELIANCE, cell.modality, part, change, noise_known=len(cell.seeds) >= MIN_SEEDS)
    if not any(fact.measure == RELIANCE for fact in facts.facts):
        facts.unknown.append(Message("reliance: no final run was scored with a modality shuffled at inference"))


def _slices(facts: Facts, comparison: Comparison, data: Catalogue, metric: str) -> None:
    """M6: where the gain of a contrast lives, with intervals that hold for all slices of a division at once.

    A harmonic mean has none: it is no mean over test pairs.
    """
    if comparison.a.target == "harmonic":
        facts.unknown.append(
            Message("slices of {contrast}: a harmonic mean is no sum over items or users", contrast=comparison.contrast)
        )
        return
    tested = comparison.a.tested[0]
    users = tested.pairs.users
    a, b = (
        np.stack([slices.pair_values(r, metric) for r in side.rankings], axis=1)
        for side in (comparison.a, comparison.b)
    )
    for division, slicing in divisions(tested, data).items():
        if len(np.unique(slicing.labels[slicing.labels >= 0])) < 2:
            continue
        for name, slice_gain in slices.slice_gains(a, b, users, slicing).items():
            value = slice_gain.gain or float("nan")
            part = Message("{division}: {slice}", division=division, slice=name)
            n, known = slice_gain.n_pairs, comparison.noise_known
            facts.add(SLICES, comparison.contrast, part, value, share=slice_gain.share, n=n, noise_known=known)
            facts.add(DIFFERENCES, comparison.contrast, part, slice_gain.difference, n=n, noise_known=known)


def divisions(tested: Ranking, data: Catalogue) -> dict[str, Slicing]:
    """Divisions of the test pairs that the data allow; one that puts all pairs into one slice tells nothing."""
    items, users = tested.items, tested.users[tested.pairs.users]
    slicings = {
        DIVISIONS[POPULARITY]: by_popularity(items, data.item_counts),
        Message("user's training interactions"): slices.by_history(users, data.user_counts),
    }
    for name, feature in sorted(data.dataset.features.items()):
        slicings[Message("{modality} present", modality=name)] = slices.by_presence(items, feature.present, name)
    if data.categories is not None:
        slicings[DIVISIONS[CATEGORY]] = by_category(items, data.categories)
    if data.lengths is not None:
        slicings[DIVISIONS[LENGTH]] = by_length(items, data.lengths)
    return slicings


#: What the numbers are of.
ABOUT = Template(
    "Of the chosen configurations, not of the method, whose verdicts are in verdicts.md; what these do not say too is "
    "not said here, nor how two modalities work together where one of them has no word, is not trusted or depends on "
    "tuning: values in {metric}, hits and lists at {k}; intervals over users "
    "and seeds: crossed, for slices at once for all of one division; for hits and headroom pigeonhole bootstrap."
)
LEGEND = (
    Message(
        "What a modality adds to the others decides; the Shapley value credits an image for what text already tells."
    ),
    Message(
        "baseline: the same between two seeds of one condition, which differ too; for hits, the tested modality "
        "replaced by another seed. share: part of the slice in the whole difference. n: test pairs."
    ),
    Message(
        "A slice in which a side finds nothing has no relative gain; its difference per test pair tells whether it "
        "gained."
    ),
    Message(
        "Guard-rails: holds if the lower bound is above -{margin} %, broken if the upper one is below it. "
        "Reliance is what a trained model leans on, not what the modality is worth.",
        margin=f"{100 * MARGIN:.0f}",
    ),
    Message(
        "New items: of 1,000 interactions with new items of users who hold out others too, those in the first 20 "
        "places of lists of both; the baseline is that of the condition without content, whose new items stand at "
        "random. NDCG@20 among new items: baseline is its exact floor, n the pool (new_items.md). Over folds: mean and "
        "95 % interval over the folds alone, t with one degree of freedom less than there are folds. One draw of new "
        "items is not read in words."
    ),
    Message("Beyond the slices of one division nothing here is corrected for multiplicity; slices are exploratory."),
)


def document(table: SweepTable, measured: Sequence[Facts]) -> Document:
    """All measures as tables."""
    legend = (Message(ABOUT, metric=table.primary, k=K), *LEGEND)
    return facts_document(Message("{sweep}, contribution", sweep=table.title), measured, legend)
