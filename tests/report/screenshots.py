"""The pictures of docs/decision.md: ``python -m tests.report.screenshots docs/images`` (minutes; needs a browser)."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from mmbench.cli import decide
from mmbench.report.write import write_report
from tests.report import browser as web
from tests.report.shop import run_shop, write_shop

#: Answer shown in each language, with what a large shop puts in.
OWN = {"en": "value: {recommendations_year: {low: 3.0e+8, likely: 4.0e+8, high: 5.0e+8}}\n", "ja": ""}
#: Pixels from the top that are kept.
KEPT = {"phone": 2000, "desk": 1900}
COLOURS = 96


def main(target: Path, sweep: Path | None = None) -> None:
    """Run a shop, or take one that ran, and photograph its pages.

    Args:
        target: folder of the pictures.
        sweep: absolute folder of a sweep of a shop; None to run one.
    """
    target = target.resolve()
    with tempfile.TemporaryDirectory() as name, web.chromium(Path(name) / "profile") as browser, contextlib.chdir(name):
        data = Path("data/shop")  # pages show commands, and these are to be a shop's
        if sweep is None:
            sweep = run_shop(Path("multirun"), write_shop(data, n_users=1200, n_items=400), ("itemknn", "cease"))
        for lang, own in OWN.items():
            Path("big.yaml").write_text(own)
            economics = "big.yaml" if own else "yen"
            decide.main([str(sweep), f"economics={economics}", f"lang={lang}", "--allow", str(data)])
            photograph(browser, page(sweep, "decision"), target, f"decision-{lang}")
        write_report(sweep, lang="en")
        photograph(browser, page(sweep, "report"), target, "report")


def page(sweep: Path, name: str) -> Path:
    return (sweep / "report" / f"{name}.html").resolve()


def photograph(browser: object, page: Path, target: Path, name: str) -> None:
    """One picture at each width, the dark one on the phone in Japanese."""
    target.mkdir(parents=True, exist_ok=True)
    for size, width in web.WIDTHS.items():
        scheme = "dark" if name.endswith("ja") and size == "phone" else "light"
        web.show(browser, page, width, KEPT[size], scheme)
        shot = target / f"{name}-{size}.png"
        web.picture(browser, shot, whole=False)
        made = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")
        made.quantize(COLOURS, dither=Image.Dither.NONE).save(shot, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(Path, sys.argv[2:]))
