"""Validation ranked for a sample of its users: the same one everywhere, said everywhere, and never for test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import Results, faults, paths
from mmbench.audit import consistency
from mmbench.audit.recorded import Recorded, Sources
from mmbench.audit.rescoring import rescore
from mmbench.cli import main
from mmbench.report.reading import read_sweep
from mmbench.scheduling.trust import NOTHING
from mmbench.store import records
from mmbench.store.schema import Cell, Manifest
from tests.audit.conftest import run
from tests.cli.conftest import Command
from tests.cli.test_errors import is_one_line
from tests.tiny import digests, make_job, sealed

DATA = "planted-complementary"
CELLS = ("-m", "model=vbpr,bpr", "modality=none,text", "statistics.contrasts=[text_vs_none]", "budget.trials=2")
SAMPLED = "evaluation.validation_users=35"
SAID = f"{DATA}, validation: 35 of 60 users, the same for all conditions; test: all users"


def users_of(sweep: Path, ending: str = paths.VALIDATION) -> set[tuple[int, ...]]:
    """Users of every table of one kind, each once."""
    return {tuple(sorted(set(pd.read_parquet(file)["user"]))) for file in sweep.rglob(f"*.{ending}")}


def manifest_of(sweep: Path) -> Manifest:
    return records.read(paths.manifest_file(sweep), Manifest)


@pytest.mark.slow
def test_every_condition_and_model_gets_the_same_users_and_test_gets_all(command: Command, tmp_path: Path) -> None:
    said = command("run", *CELLS, "sweep.name=s", SAMPLED)
    assert said.code == 0, said.err
    assert "validation: 35 of 60 users, the same for all conditions" in said.out
    (sample,) = users_of(tmp_path / "s")
    assert len(sample) == 35
    assert users_of(tmp_path / "s", paths.RANKS) == {tuple(range(60))}
    assert command("run", *CELLS, "sweep.name=all").code == 0
    assert users_of(tmp_path / "all") == {tuple(range(60))}
    cells = [[records.read(file, Cell) for file in sorted(paths.cell_files(tmp_path / name))] for name in ("s", "all")]
    for one, other in zip(*cells, strict=True):
        assert (one.sample, other.sample) == ((35, 60), None)
        assert one.key != other.key
        assert one.split_hash == other.split_hash
    sampled, everyone = (manifest_of(tmp_path / name) for name in ("s", "all"))
    assert (sampled.data[DATA].validation_users, everyone.data[DATA].validation_users) == (35, None)
    assert sampled.plan_hash != everyone.plan_hash
    assert "validation_users" not in json.loads(paths.manifest_file(tmp_path / "all").read_text())["data"][DATA]


def test_no_rank_of_test_moves(tmp_path: Path) -> None:
    """A closed form, whose state no validation score chooses, ranks the test split bit for bit as without a sample."""
    stores = [sealed(make_job(tmp_path / str(n), "model=ease", *words)) for n, words in enumerate([(), (SAMPLED,)])]
    whole, sampled = (digests(store.folder) for store in stores)
    tests = {name for name in whole if name.endswith((paths.RANKS, paths.LISTS))}
    assert {name: sampled[name] for name in tests} == {name: whole[name] for name in tests} != {}


@pytest.mark.slow
def test_the_sample_is_that_of_the_split_in_every_process_and_nested() -> None:
    job = make_job(Path("nowhere"), "model=bpr", SAMPLED)
    split = job.dataset().split
    assert split.ranked is not None
    program = (
        "from pathlib import Path; from tests.tiny import make_job;"
        f"print(*make_job(Path('nowhere'), 'model=vbpr', 'modality=text', '{SAMPLED}').dataset().split.ranked)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert list(map(int, done.stdout.split())) == split.ranked.tolist()
    more = split.sampled(50).ranked
    assert more is not None
    assert set(split.ranked) < set(more) < set(range(60))
    assert split.ranked_valid.active_users.tolist() == split.ranked.tolist()
    assert split.sampled(60).sampled(None) is not None
    other = make_job(Path("nowhere"), "model=bpr", SAMPLED, "dataset.world_options.seed=1").dataset().split.ranked
    assert other is not None
    assert other.tolist() != split.ranked.tolist()
    drawn = make_job(Path("nowhere"), "model=bpr", SAMPLED, "study.draw=1").dataset().split.ranked
    assert drawn is not None
    assert drawn.tolist() == split.ranked.tolist()


def test_new_items_are_ranked_for_the_sample_and_tested_for_all(tmp_path: Path) -> None:
    words = ("model=vbpr", "modality=text", "dataset.protocol=cold", "dataset.cold_fold=2", "tuning.target=harmonic")
    whole, sampled = (make_job(tmp_path, *words, *more).task() for more in ((), ("evaluation.validation_users=30",)))
    assert sampled.new_valid is not None
    assert len(sampled.valid.active_users) == 30
    assert sampled.new_valid.rows.active_users.tolist() == sampled.valid.active_users.tolist()
    split = make_job(tmp_path, *words, "evaluation.validation_users=30").dataset().split
    assert [len(part) for part in split.seen_at_test] == [
        len(part) for part in make_job(tmp_path, *words).dataset().split.seen_at_test
    ]
    assert len(whole.valid.active_users) > 30


@pytest.mark.slow
def test_a_sweep_that_was_stopped_agrees_with_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []

    def killed(here: str) -> None:
        reached.append(here)
        if reached.count("fitted") == 3:
            raise KeyboardInterrupt

    words = ("budget.trials=2", SAMPLED)
    cells = tuple(("vbpr", modality, "complementary") for modality in ("none", "text"))
    with monkeypatch.context() as once:
        once.setattr(faults, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "resumed", "s", *words, cells=cells)
    resumed = run(tmp_path / "resumed", "s", *words, cells=cells)
    whole = run(tmp_path / "whole", "s", *words, cells=cells)
    assert digests(resumed / DATA) == digests(whole / DATA) != {}
    assert consistency.check(resumed) == []


def test_the_audit_passes_and_another_set_of_users_fails(tmp_path: Path) -> None:
    sweep = run(tmp_path, "s", "budget.trials=2", SAMPLED, cells=(("vbpr", "text", "complementary"),))
    assert consistency.check(sweep) == []
    manifest = manifest_of(sweep)
    (planned,) = manifest.cells

    def again() -> list[str]:
        recorded = Recorded.read(sweep, planned, Sources(NOTHING))
        return [f"{file.name}: {field}" for file, field, _ in rescore(recorded, manifest.data[DATA], tmp_path / "g")]

    assert again() == []
    file = sorted((sweep / planned.folder).rglob(f"*.{paths.VALIDATION}"))[0]
    frame, everyone = pd.read_parquet(file), np.arange(60)
    others = np.setdiff1d(everyone, frame["user"])
    edited = frame.assign(user=np.sort(np.r_[others[:1], frame["user"][1:]]).astype("int32"))
    edited.to_parquet(file, index=False)
    assert {f"{finding.field}" for finding in consistency.check(sweep)} == {"validation_hash", "user"}
    frame[1:].to_parquet(file, index=False)
    assert {"user", "users"} <= {finding.field for finding in consistency.check(sweep)}
    assert again() == [f"{file.name}: user"]


@pytest.mark.slow
def test_every_page_says_so_in_both_languages(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("run", *CELLS, "sweep.name=s", SAMPLED, "budget.seeds=2").code == 0
    folder = paths.report_dir(tmp_path / "s")
    pages = ("table.md", "table.txt", "verdicts.md", "benchmark.md", "contribution.md", "fairness.md", "submission.md")
    for page in pages:
        assert SAID in (folder / page).read_text(encoding="utf-8"), page
    for page in ("fairness.html", "report.html"):
        assert "35 of 60 users" in (folder / page).read_text(encoding="utf-8"), page
    for page in ("table", "verdicts", "benchmark"):
        lines = (folder / f"{page}.tex").read_text(encoding="utf-8").splitlines()
        captions = [line for line in lines if line.startswith(r"\caption")]
        assert captions, page
        assert all(f"{DATA}: validation of 35 of 60 users" in caption for caption in captions), page
    results = Results(tmp_path / "s")
    for page, read in (("table", results.table), ("verdicts", results.verdicts), ("benchmark", None)):
        assert set(pd.read_csv(folder / f"{page}.csv")["validation_users"]) == {"35 of 60"}, page
        assert read is None or set(read()["validation_users"]) == {"35 of 60"}, page
    assert SAID in read_sweep(tmp_path / "s").proof
    japanese = "の検証用データ: 60人のうち35人(どの条件でも同じ)"
    monkeypatch.setattr("sys.argv", ["mmbench", "report", str(tmp_path / "s"), "lang=ja"])
    main()
    assert japanese in capsys.readouterr().out
    for page in ("verdicts.ja.md", "fairness.html", "report.html"):
        assert japanese in (folder / page).read_text(encoding="utf-8"), page
    explained = ["mmbench", "report", str(tmp_path / "s"), "--explain", f"{DATA}/vbpr/text"]
    monkeypatch.setattr("sys.argv", explained)
    main()
    assert SAID in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [
        "mmbench", "export", str(tmp_path / "s"), "--cell", f"{DATA}/vbpr/text", "--out", str(tmp_path / "out"),
    ])  # fmt: skip
    main()
    assert SAID in (tmp_path / "out" / "card.md").read_text()


@pytest.mark.slow
def test_as_many_as_there_are_is_everybody_and_says_so(command: Command, tmp_path: Path) -> None:
    assert command("run", *CELLS, "sweep.name=s").code == 0
    before = digests(tmp_path / "s" / DATA)
    said = command("run", *CELLS, "sweep.name=s", "evaluation.validation_users=60")
    assert said.code == 0, said.err
    assert "validation: all 60 users, because evaluation.validation_users=60 is no fewer" in said.out
    assert digests(tmp_path / "s" / DATA) == before
    assert "users, the same for all conditions" not in read_sweep(tmp_path / "s").proof
    report = paths.report_dir(tmp_path / "s")
    assert "validation_users" not in pd.read_csv(report / "verdicts.csv")
    assert "validation of" not in (report / "verdicts.tex").read_text(encoding="utf-8")


def test_the_plan_shows_it(command: Command) -> None:
    said = command("plan", "model=bpr", SAMPLED, "sweep.name=s")
    assert said.code == 0, said.err
    assert "validation: 35 of 60 users, the same for all conditions" in said.out


def test_a_sweep_keeps_its_sample(command: Command, tmp_path: Path) -> None:
    run(tmp_path, "s", "budget.trials=1", SAMPLED, cells=(("bpr", "none", "complementary"),))
    message = "but in this sweep validation of planted-complementary is ranked with 35, for all of its cells"
    for other in ("evaluation.validation_users=40", "evaluation.validation_users=null", "study.resume=force"):
        is_one_line(command("run", "-m", "model=ease", "sweep.name=s", other), message)


@pytest.mark.parametrize("value", ["0", "-5", "29", "many", "true", "40.5", "[40]", "'40'"])
def test_what_is_no_number_of_users_is_refused(value: str, command: Command, tmp_path: Path) -> None:
    message = "must be a whole number of at least 30, or null for all users"
    is_one_line(command("run", "-m", "sweep.name=s", f"evaluation.validation_users={value}"), message)
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_number_of_another_data_set_is_not_compared(command: Command, tmp_path: Path) -> None:
    """Repetitions over split seeds have samples of their own, and are judged together all the same."""
    said = command("run", *CELLS, "sweep.name=s", SAMPLED, "dataset.protocol=paper", "dataset.split_seed=0,1")
    assert said.code == 0, said.err
    ranked = [data.valid_users for data in manifest_of(tmp_path / "s").data.values()]
    assert len(set(ranked)) == len(ranked) == 2
    assert "over 2 split seeds" in (paths.report_dir(tmp_path / "s") / "verdicts.md").read_text(encoding="utf-8")
    results = Results(tmp_path / "s")
    alone = results.table().groupby("dataset")["validation_users"].unique().map(list)
    assert [one.startswith("35 of ") for (one,) in alone] == [True, True]
    verdicts = results.verdicts()
    together = verdicts.loc[verdicts["dataset"].str.endswith("over 2 split seeds"), "validation_users"]
    assert set(together) == {"; ".join(one for (one,) in alone)}
