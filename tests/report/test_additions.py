"""What was added after results had been seen is listed, and is a look where a word is about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmbench import paths
from mmbench.inference.looks import level_of_look
from mmbench.report import index
from mmbench.report.additions import read_additions
from mmbench.report.comparisons import Comparison, EarlierLook, read_contrasts
from mmbench.report.disposals import ALL_MODELS, Disposal, read_disposals
from mmbench.report.explain import explainable
from mmbench.report.fairness_checks import read_groups
from mmbench.report.pooled import pool, rank_tables
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import UNTOLD, earlier_verdict
from mmbench.report.table import LATE
from mmbench.report.templating import Pages
from mmbench.report.verdict_table import look_lines, notes
from mmbench.store import records
from mmbench.store.schema import Manifest, Revision
from tests import records as valid
from tests.report import test_disposals as disposed
from tests.report.constructed import Made, write_earlier_look, write_sweep
from tests.report.test_together import pair

Cells = Mapping[tuple[str, str, str], Made]
SPLITS = ("a", "a-split1", "a-split2")


def revisions(
    cells: Cells, planned: Sequence[Collection[str]], opened: Sequence[Collection[str] | None]
) -> list[Revision]:
    """Commands that planned the cells one after the other.

    Args:
        cells: the cells.
        planned: what each planned: any word of the names of its cells.
        opened: the same for what had been opened by then.
    """

    def named(words: Collection[str]) -> list[str]:
        return sorted("/".join(name) for name in cells if set(words) & {*name, "/".join(name)})

    return [
        valid.revision(cells=dict.fromkeys(named(words), "key"), opened=None if seen is None else named(seen))
        for words, seen in zip(planned, opened, strict=True)
    ]


def read(folder: Path) -> tuple[dict[str, Comparison], dict[str, Disposal]]:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    return {c.name: c for c in read_contrasts(table, groups)}, {d.name: d for d in read_disposals(table, groups)}


def level(row: Comparison | Disposal) -> float:
    assert row.tuned is not None
    return row.tuned.level


def of_splits(folder: Path, planned: Sequence[Collection[str]], opened: Sequence[Collection[str] | None]) -> Comparison:
    cells = {**pair("a", 1100), **pair("a-split1", 1140), **pair("a-split2", 1060)}
    contrasts, _ = read(write_sweep(folder, cells, revisions=revisions(cells, planned, opened)))
    return next(iter(contrasts.values()))


def said(looks: Sequence[EarlierLook]) -> list[str]:
    return [str(earlier_verdict(look)) for look in looks]


@pytest.mark.thorough
def test_a_split_that_was_added_after_results_is_a_look_at_all_splits(tmp_path: Path) -> None:
    at_once = of_splits(tmp_path / "once", [SPLITS], [[]])
    assert (level(at_once), at_once.enlarged, at_once.earlier) == (0.95, (), ())
    # Planned by a second command, before anything was opened: somebody may share the work so.
    blind = of_splits(tmp_path / "blind", [SPLITS[:1], SPLITS[1:]], [[], []])
    assert (level(blind), blind.earlier) == (0.95, ())
    added = of_splits(tmp_path / "added", [SPLITS[:1], SPLITS[1:2], SPLITS[2:]], [[], ["a"], ["a-split1"]])
    assert (level(added), added.enlarged) == (level_of_look(3), (2, 3))
    first, second = said(added.earlier)
    assert first.startswith("look 1, with T 8 and S 3: better +10.0 % [")
    assert first.endswith("] (of a alone)")
    assert second.startswith("look 2, with T 8 and S 3: better +12.0 % [")
    assert second.endswith("at 97.5 % (over 2 split seeds)")
    assert added.tuned is not None
    assert at_once.tuned is not None
    assert added.tuned.gain == at_once.tuned.gain
    # One side of a contrast is enough to be seen.
    half = of_splits(tmp_path / "half", [SPLITS[:2], SPLITS[2:]], [[], ["a/m/none"]])
    assert (level(half), half.enlarged) == (0.975, (2,))


def test_earlier_versions_noted_nothing_so_everything_counts_as_opened(tmp_path: Path) -> None:
    added = of_splits(tmp_path / "s", [SPLITS[:1], SPLITS[1:]], [None, None])
    assert (level(added), added.enlarged) == (0.975, (2,))


def test_a_single_fold_had_no_word_that_somebody_could_have_stopped_at(tmp_path: Path) -> None:
    cells: dict[tuple[str, str, str], Made] = {}
    for fold, found in enumerate((1100, 1140, 1060)):
        cells |= pair(f"a-fold{fold}", found)
    folds = [f"a-fold{fold}" for fold in range(3)]
    for place, planned, opened, looks in (
        ("two", [folds[:1], folds[1:]], [[], folds[:1]], 1),
        ("three", [folds[:1], folds[1:2], folds[2:]], [[], folds[:1], folds[1:2]], 2),
    ):
        contrasts, _ = read(write_sweep(tmp_path / place, cells, revisions=revisions(cells, planned, opened)))
        assert level(next(iter(contrasts.values()))) == level_of_look(looks)


def test_a_condition_is_a_look_at_what_is_chosen_from_and_at_no_contrast(tmp_path: Path) -> None:
    small = ["none", "text", "fused", "text_shuffled_image"]
    large = ["image", "image_states.image=shuffle"]
    cells = disposed.cells(conditions=(*small, *large))
    planned = revisions(cells, [small, large], [[], small])
    contrasts, free = read(write_sweep(tmp_path / "s", cells, revisions=planned))
    assert {level(c) for c in contrasts.values()} == {0.95}
    image = free["d/m/free_disposal_of_image"]
    assert (level(image), image.enlarged) == (0.975, (2,))
    (look,) = said(image.earlier)
    assert look.startswith("look 1, with T 8 and S 3: ")
    assert look.endswith("(of 3 of the 4 conditions)")
    table = read_sweep(tmp_path / "s")
    told = [str(line) for line in notes(table, list(contrasts.values()), list(free.values()))]
    assert any("conditions or models were added after results had been seen" in line for line in told)


def test_a_first_control_is_no_look_for_there_was_no_word(tmp_path: Path) -> None:
    cells = disposed.cells()
    real = ["none", "text", "image", "fused"]
    controls = [name for _, _, name in cells if name not in real]
    planned = revisions(cells, [real, controls], [[], real])
    _, free = read(write_sweep(tmp_path / "s", cells, revisions=planned))
    assert {(level(d), d.enlarged) for d in free.values()} == {(0.95, ())}


def test_a_control_that_is_drawn_again_takes_no_other_ones_place(tmp_path: Path) -> None:
    """Another seed is another name, which sorts before the first: who has seen one shuffle may draw a weaker one."""
    first = disposed.cells(conditions=("none", "text", "fused"))
    first["d", "m", "text_shuffled_image_seed=9"] = disposed.made("text_shuffled_image", range(1149))
    again = {**first, ("d", "m", "text_shuffled_image_seed=8"): disposed.made("text_shuffled_image", range(1020))}
    _, before = read(write_sweep(tmp_path / "first", first, revisions=revisions(first, [["d"]], [[]])))
    planned = revisions(again, [[c for _, _, c in first], ["text_shuffled_image_seed=8"]], [[], ["d"]])
    folder = write_sweep(tmp_path / "again", again, revisions=planned)
    _, after = read(folder)
    for name in ("d/m/free_disposal_of_image", "d/all models/free_disposal_of_image"):
        assert after[name].judgement == before[name].judgement
        assert after[name].control == before[name].control
        assert level(after[name]) == 0.95
        assert before[name].passed_over == ()
        assert after[name].passed_over == (("m/text_shuffled_image_seed=8", "m/text_shuffled_image_seed=9"),)
    told = [line for line in notes(read_sweep(folder), [], list(after.values())) if "on neither side: " in line]
    assert told == [
        "d/m/text_shuffled_image_seed=8 is on neither side: m/text_shuffled_image_seed=9 has the same states and "
        "comes before it in the plan"
    ]
    explained = explainable(folder)["d/m/free_disposal_of_image"]()
    assert "  on neither side, for m/text_shuffled_image_seed=9 has the same states: m/text_sh" in explained


def test_a_model_is_a_look_over_all_models_alone(tmp_path: Path) -> None:
    one = disposed.cells()
    cells = {**one, **{("d", "other", condition): made for (_, _, condition), made in one.items()}}
    planned = revisions(cells, [["m"], ["other"]], [[], ["m"]])
    contrasts, free = read(write_sweep(tmp_path / "s", cells, revisions=planned))
    assert {level(c) for c in contrasts.values()} == {0.95}
    levels = {d.model: level(d) for d in free.values() if d.modality == "image"}
    assert levels == {"m": 0.95, "other": 0.95, None: 0.975}


def test_a_third_data_set_is_a_look_at_what_is_pooled(tmp_path: Path) -> None:
    cells = {**pair("a", 1100), **pair("b", 1050), **pair("c", 1080)}
    for place, opened, looks in (("blind", [], 1), ("added", ["a"], 2)):
        planned = revisions(cells, [["a", "b"], ["c"]], [[], opened])
        folder = write_sweep(tmp_path / place, cells, revisions=planned)
        table = read_sweep(folder)
        compared = read_contrasts(table, read_groups(table, folder))
        (effect,) = pool(compared, table).values()
        assert effect.effect.level == level_of_look(looks)
        lines = [
            line for line in notes(table, compared, []) if line.startswith("Data sets were added to what is pooled")
        ]
        assert len(lines) == looks - 1


@pytest.mark.thorough
def test_a_third_data_set_is_a_look_at_pooled_free_disposals_beside_a_late_ensemble(tmp_path: Path) -> None:
    """Text and images alone are averaged in each data set, and nobody has planned that."""
    cells = {
        (data, model, name): made
        for data, gain in (("a", 100), ("b", 140), ("c", 180))
        for (_, model, name), made in disposed.cells(gain=gain).items()
    }
    for place, opened, looks in (("blind", [], 1), ("added", ["a"], 2)):
        planned = revisions(cells, [["a", "b"], ["c"]], [[], opened])
        folder = write_sweep(tmp_path / place, cells, revisions=planned)
        table = read_sweep(folder)
        assert ("c", "m", LATE) in table.cells
        pooled = pool(read_disposals(table, read_groups(table, folder)), table)
        assert {key.model for key in pooled} == {"m", ALL_MODELS}
        assert {effect.effect.level for effect in pooled.values()} == {level_of_look(looks)}


@pytest.mark.thorough
def test_a_late_ensemble_gives_no_later_split_the_place_of_the_first_among_ranks(tmp_path: Path) -> None:
    """Images alone were run in the later split only, so that it has a late ensemble and the first has none."""
    names = ("none", "text", "fused")
    cells = {(f"d{n}", "m", name): disposed.cells()["d", "m", name] for n in range(10) for name in names}
    first = read_sweep(write_sweep(tmp_path / "first", cells, revisions=revisions(cells, [names], [[]])))
    ends = {"none": 1300, "text": 1200, "fused": 1100, "image": 1000}  # the other way round
    for name, end in ends.items():
        config = {"dataset": {"name": "d0", "split_seed": 1}}
        cells["d0-split1", "m", name] = disposed.made(name, range(end), config=config)
    added = [f"d0-split1/m/{name}" for name in ends]
    planned = revisions(cells, [[f"d{n}" for n in range(10)], added], [[], ["d0"]])
    table = read_sweep(write_sweep(tmp_path / "both", cells, revisions=planned))
    assert ("d0-split1", "m", LATE) in table.cells
    alone, both = ([[entry.text for entry in row] for row in rank_tables(one)[0].entries] for one in (first, table))
    assert both == alone


RAISED = "T or S was raised, or a cell begun afresh"
ADDED = "Split seeds, cold folds, conditions or models were added"


def told(folder: Path, *, contrasts: bool = True) -> list[str]:
    """What the notes say of looks and of additions, without what was said at earlier looks of contrasts if not so."""
    table, (compared, free) = read_sweep(folder), read(folder)
    rows = [c if contrasts else replace(c, earlier=()) for c in compared.values()]
    return [
        start
        for start in (RAISED, ADDED)
        for line in notes(table, rows, list(free.values()))
        if str(line).startswith(start)
    ]


@pytest.mark.thorough
def test_the_notes_say_that_effort_was_raised_only_where_it_was(tmp_path: Path) -> None:
    splits = {**pair("a", 1100), **pair("a-split1", 1140)}
    planned = revisions(splits, [["a"], ["a-split1"]], [[], ["a"]])
    assert told(write_sweep(tmp_path / "splits", splits, revisions=planned)) == [ADDED]
    small = ["none", "text", "fused", "text_shuffled_image"]
    shops: dict[tuple[str, str, str], Made] = {}
    for number, name in enumerate(("d", "d-split1")):
        config = {"dataset": {"name": "d", "split_seed": number}}
        shops |= {(name, model, c): replace(made, config=config) for (_, model, c), made in disposed.cells().items()}
    for place, cells in (("alone", disposed.cells()), ("joined", shops)):
        large = sorted({condition for _, _, condition in cells} - {*small})
        planned = revisions(cells, [small, large], [[], small])
        folder = write_sweep(tmp_path / place, cells, revisions=planned)
        looks = [look for d in read(folder)[1].values() for look in d.earlier]
        assert looks
        assert all("conditions)" in line for line in said(looks))
        assert told(folder) == [ADDED]
    raised = {
        key: replace(made, trials=made.finals[[0] * 16])
        for key, made in disposed.cells(conditions=tuple(small)).items()
    }
    folder = write_sweep(tmp_path / "raised", raised)
    for data, model, condition in raised:
        write_earlier_look(folder / data / model / condition, 8)
    assert told(folder) == told(folder, contrasts=False) == [RAISED]


def test_a_level_is_explained_where_no_earlier_look_can_be_told(tmp_path: Path) -> None:
    """One condition was looked at with fewer trials than the others had, so nothing was said of them together."""
    planned = disposed.cells(conditions=("none", "text", "fused", "text_shuffled_image"))
    cells = {key: replace(made, trials=made.finals[[0] * 16]) for key, made in planned.items()}
    folder = write_sweep(tmp_path / "s", cells, contrasts=("text_vs_none", "fused_vs_text"))
    assert told(folder) == []
    write_earlier_look(folder / "d" / "m" / "fused", 8)
    contrasts, free = read(folder)
    rows = contrasts | free
    assert {name for name, row in rows.items() if level(row) != 0.975} == {"d/m/text_vs_none"}
    assert not any(row.earlier or row.untold for row in rows.values())
    assert told(folder) == [RAISED]
    table, none = read_sweep(folder), [contrasts["d/m/text_vs_none"]]
    assert look_lines(none, []) == []
    assert len(look_lines([], list(free.values()))) == 1
    in_japanese = "評価用データを k 回目に開くときの判定には水準 1 - .05/k"
    for pages, why in zip(Pages.both("en"), (RAISED, in_japanese), strict=True):
        page = index.as_html(table, list(contrasts.values()), list(free.values()), pages)
        assert why in page
        assert why not in index.as_html(table, none, [], pages)


MODELS = {
    ("d", model, name): disposed.made(
        name, range(worth), trials=np.stack([disposed.hit_users(2000, range(worth))] * 16)
    )
    for model, fused in (("m", 1040), ("n", 1200))
    for name, worth in (("none", 1000), ("text", 1050), ("fused", fused), ("text_shuffled_image", 1040))
}


@pytest.mark.parametrize(
    ("cells", "planned", "opened", "raised", "row", "looks"),
    [
        # A model was added to one that had been raised; a split was added, then both raised; two raised, a third added.
        pytest.param(
            MODELS,
            ["m", "m", "n"],
            ["", "m", ""],
            ["m"],
            "d/all models/free_disposal_of_image",
            3,
            marks=pytest.mark.thorough,
        ),
        (SPLITS[:2], ["a", "a-split1", "a"], ["", "a", "a-split1"], SPLITS[:2], "", 3),
        (SPLITS, ["a a-split1", "a a-split1", "a-split2"], ["", "a a-split1", ""], SPLITS[:2], "", 3),
    ],
)
def test_looks_by_more_effort_and_by_additions_are_not_told(
    cells: Cells | Sequence[str],
    planned: Sequence[str],
    opened: Sequence[str],
    raised: Sequence[str],
    row: str,
    looks: int,
    tmp_path: Path,
) -> None:
    """What was said then is another thing than what the same looks would say of the conditions of now."""
    if not isinstance(cells, Mapping):
        cells = {name: made for data in cells for name, made in pair(data, 1100, n_trials=16).items()}
    commands = revisions(cells, [words.split() for words in planned], [words.split() for words in opened])
    folder = write_sweep(tmp_path / "s", cells, revisions=commands, data={"d": disposed.DATA})
    for name in cells:
        if {*name} & {*raised}:
            write_earlier_look(paths.cell_dir(folder, *name), 8)
    contrasts, free = read(folder)
    found = free[row] if row else next(iter(contrasts.values()))
    assert (level(found), found.earlier, found.untold) == (level_of_look(looks), (), True)
    lines = [str(line) for line in notes(read_sweep(folder), list(contrasts.values()), list(free.values()))]
    assert [line for line in lines if line.startswith(f"{found.name}, ")] == [f"{found.name}, {UNTOLD}"]
    assert [start for start in (RAISED, ADDED) for line in lines if line.startswith(start)] == [RAISED, ADDED]
    assert f"  {UNTOLD}" in explainable(folder)[found.name]()


@pytest.mark.parametrize("noted", [True, False])
def test_fairness_lists_what_was_added(noted: bool, tmp_path: Path) -> None:
    cells = {
        **pair("a", 1100),
        **pair("a-split1", 1140),
        **{("a", "other", name): made for (_, _, name), made in pair("a", 1050).items()},
        ("a", "m", "fused"): pair("a", 1120)["a", "m", "text"],
    }
    first = ["a/m/text", "a/m/none"]
    words = [first, ["a/m/fused"], ["a-split1"], ["other"]]
    folder = write_sweep(
        tmp_path / "s", cells, revisions=revisions(cells, words, [[], first, [], []] if noted else [None] * 4)
    )
    found = read_additions(records.read(paths.manifest_file(folder), Manifest))
    begin = (
        "added after results had been seen: "
        if noted
        else "planned by a later command, which did not note whether results had been seen: "
    )
    assert {name: str(told) for name, told in found.items()} == {
        ("a", "m"): f"{begin}fused (revision 2 of the plan)",
        ("a-split1", "m"): f"{begin}the data set (revision 3 of the plan)",
        ("a", "other"): f"{begin}the model (revision 4 of the plan)",
    }
    table = read_sweep(folder)
    checks = {(g.dataset, g.model): {c.name: c for c in g.checks} for g in read_groups(table, folder)}
    assert {name: str(own["additions"].reason) for name, own in checks.items()} == {n: str(t) for n, t in found.items()}
    assert {own["additions"].level for own in checks.values()} == {"PASS"}
    blind = revisions(cells, words, [[]] * 4)
    assert read_additions(valid.manifest(revisions=blind)) == {}
