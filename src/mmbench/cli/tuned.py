"""``tuned=NAME``: cells take the configurations that another sweep has tuned, and tune nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import paths
from mmbench.cli.plain_yaml import plain_yaml
from mmbench.messages import Refusal, series
from mmbench.messages.commands import override
from mmbench.scheduling.cell_key import NOT_SEARCHED

if TYPE_CHECKING:
    from mmbench.scheduling.configuration import Section
    from mmbench.scheduling.job import Job


def without_tuning(job: Job, name: Any, folders: Sequence[Path]) -> Section:
    """The configuration of a job with the tuned values of its cell, and one trial.

    Args:
        job: as it would be tuned.
        name: name of a folder in ``tuned`` of one of the folders or of ``conf`` here, or the path of a folder.
        folders: where configurations lie.

    Raises:
        ValueError: for a folder or file that is not there or is of another cell, and for effort that is asked for.
    """
    for word in job.overrides:
        key, _, value = word.lstrip("+").partition("=")
        setting = key.removeprefix("budget.")
        if setting in NOT_SEARCHED and value != str(NOT_SEARCHED[setting]):
            raise Refusal(
                "{word} asks for a search, and tuned={name} tunes nothing; leave one away", word=word, name=name
            )
    places = [place for place in _places(str(name), folders) if place.is_dir()]
    if not places:
        _refuse_all_data_sets(str(name), Path(name))
        raise Refusal(
            "tuned={name}: there is no folder {folder}; python -m mmbench report SWEEP --tuned writes one",
            name=name,
            folder=_places(str(name), folders)[0],
        )
    file = paths.tuned_file(places[0], job.choices["model"], job.modality)
    if not file.is_file():
        _refuse_all_data_sets(str(name), places[0])
        raise Refusal(
            "tuned={name} has nothing for {model} and {modality}: {file} does not exist",
            name=name,
            model=job.choices["model"],
            modality=job.modality,
            file=file,
        )
    section = plain_yaml(file)
    of = section.get("model"), section.get("modality")
    if of != (job.choices["model"], job.modality):
        raise Refusal(
            "{file} is of {cell}, not of the cell that it is named after", file=file, cell="/".join(map(str, of))
        )
    plain = job.config.plain
    return {**plain, "given": section, "budget": {**plain["budget"], **NOT_SEARCHED}}


def _refuse_all_data_sets(name: str, folder: Path) -> None:
    """Refuse what ``report SWEEP --tuned FOLDER`` has filled: configurations lie in the folder of a data set there.

    Raises:
        ValueError: naming the folders of its data sets.
    """
    if found := sorted({file.parents[1] for file in folder.glob("*/*/*.yaml")}):
        raise Refusal(
            "tuned={name} is a folder of data sets; take the one of a data set: {words}",
            name=name,
            words=series([override("tuned", str(place)) for place in found]),
        )


def _places(name: str, folders: Sequence[Path]) -> list[Path]:
    """Folders that a name may stand for, the first that is there being meant."""
    if "/" in name:
        return [Path(name)]
    return [paths.tuned_dir(folder) / name for folder in (Path("conf"), *folders)]
