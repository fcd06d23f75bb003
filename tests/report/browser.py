"""A headless Chromium that opens files, counts what it asks the network for, and takes pictures."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.parts import require_modules, require_program

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip
WIDTHS = {"phone": 390, "desk": 1440}
#: Pixels of A4 between its margins, and of the height of a phone.
A4_TEXT, PHONE_HEIGHT = 688, 844


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser of its own; the test is skipped where there is none."""
    require_modules("selenium")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = require_program("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(require_program("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def show(browser: Any, file: Path, width: int = 1440, height: int = 900, scheme: str = "light") -> None:
    """Open a file in a window of this size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    browser.get(file.resolve().as_uri())


def console(browser: Any) -> list[str]:
    """Errors and warnings of the console since the last look."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requests(browser: Any) -> list[str]:
    """Addresses asked for since the last look, but for files here, data addresses and pages of the browser itself."""
    urls = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(message["params"]["request"]["url"])
    return [url for url in urls if not url.startswith(("file:", "data:", "chrome:", "chrome-untrusted:", "about:"))]


def overflow(browser: Any) -> int:
    """Pixels by which the page is wider than its window."""
    script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(browser.execute_script(script))


def printed(browser: Any, folder: Path) -> list[str]:
    """Text of every page of the shown file, printed as its style says."""
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    file = folder / "printed.pdf"
    file.write_bytes(base64.b64decode(pdf["data"]))
    command = [require_program("pdftotext"), "-layout", str(file), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return text.removesuffix("\f").split("\f")


def paper(browser: Any, file: Path) -> None:
    """Show a file as wide as the text on A4, with its style of print."""
    show(browser, file, A4_TEXT)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})


def picture(browser: Any, file: Path, *, whole: bool = True) -> None:
    """Save a picture of the page, or of what the window shows."""
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
    file.write_bytes(base64.b64decode(shot["data"]))
