"""A small shop on disk whose items have titles and pictures, and sweeps on it that end in every answer."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmbench.data.planted import make_world
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from tests.tiny import composed

#: Titles as shops have them: markup, quotes, emoji, right-to-left text, no end.
TITLES = (
    "Desk lamp <b>Aurora</b> & shade",
    "Mug \"Fjord\" 'blue' <script>alert(1)</script>",
    "Chair 🪑 for the garden",
    "مصباح مكتب أزرق",
    "Kettle, 1.7 l",
    "コーヒーカップ 青",
    "Rug " + "very " * 40 + "long",
)
CONDITIONS = ("none", "text", "image", "fused", "shuffled_image", "text_shuffled_image")


def write_shop(folder: Path, world: str = "complementary", n_users: int = 400, n_items: int = 120) -> Path:
    """Write the data set of a planted world as a folder with titles, categories and pictures."""
    folder.mkdir(parents=True)
    source = make_world(world, n_users=n_users, n_items=n_items, per_user=20)
    n = len(source.items)
    titles = [TITLES[i % len(TITLES)] + (f" {i}" if i >= len(TITLES) else "") for i in range(n)]
    genres = [("Lamps", "Cups", "Chairs")[i % 3] for i in range(n)]
    source.items.assign(title=titles, category=genres).to_parquet(folder / "items.parquet")
    source.log.to_parquet(folder / "interactions.parquet")
    for name, feature in source.features.items():
        np.save(folder / f"{name}_feat.npy", np.where(feature.present[:, None], feature.values, 0))
    (folder / "images").mkdir()
    for i, item in enumerate(source.items["item_id"]):
        if i % 9 != 8:
            picture(i).save(folder / "images" / f"{item}.png")
    return folder


def picture(number: int) -> Image.Image:
    """A coloured shape."""
    red, green, blue = (int(255 * c) for c in colorsys.hsv_to_rgb(number * 0.618 % 1, 0.55, 0.85))
    made = Image.new("RGB", (200, 240), (244, 242, 238))
    draw, box = ImageDraw.Draw(made), (40, 50, 160, 200)
    shapes = (
        draw.ellipse,
        draw.rectangle,
        lambda b, fill: draw.polygon([(b[0], b[3]), (100, b[1]), (b[2], b[3])], fill),
    )
    shapes[number % 3](box, fill=(red, green, blue))
    return made


def vouched(sweep: Path) -> Trust:
    """The word of whoever ran a sweep of :func:`run_shop` for the data beside its multirun folder."""
    return Trust(places=(sweep.parent.parent,))


def run_shop(
    folder: Path,
    data: Path,
    models: tuple[str, ...] = ("itemknn", "hybridknn"),
    trials: int = 8,
    seeds: int = 3,
    name: str = "shop",
) -> Path:
    """Run a sweep on a shop in this process and return its folder."""
    words = [
        f"paths.multirun={folder}", f"sweep.name={name}", "budget=small", f"budget.trials={trials}",
        f"budget.seeds={seeds}", "tracking=none", "training.accelerator=cpu", "dataset=folder", "dataset.name=shop",
        f"dataset.path={data}", "dataset.protocol=given", "dataset.trust_row_order=true",
    ]  # fmt: skip
    jobs = [
        composed([*words, f"model={model}", f"modality={condition}"]).job()
        for model in models
        for condition in CONDITIONS
    ]
    sweep = Sweep.plan(jobs, words)
    sweep.open()
    worker.work(sweep.waiting)
    return sweep.folder
