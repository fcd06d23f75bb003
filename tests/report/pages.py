"""A page as a reader without eyes gets it."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

#: Elements that are never closed.
VOID = ("meta", "link", "img", "input", "br")


class Text(HTMLParser):
    """Text by id of the element it stands in, and attributes that could ask the network for something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lang, self.everything = "", ""
        self.by_id: dict[str, str] = {}
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.lang = given.get("lang") or "" if tag == "html" else self.lang
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in VOID:
            self.open.append(given.get("id") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing stands in it."""

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.everything += data
        for name in filter(None, self.open):
            self.by_id[name] = self.by_id.get(name, "") + data


#: Four English words in a row: a sentence. Names, metrics, units and single terms have fewer.
SENTENCE = re.compile(r"[A-Za-z][a-z']+(?:[,;:]? [A-Za-z][a-z']*){3,}")
COMMAND = re.compile(r"(?:python -m )?mmbench [a-z-][^、。\n<]*")


def english_sentences(text: str, *names: str) -> list[str]:
    """English sentences on a page that is not English; commands, and names of the data, are left out."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_])", "", text)
    return SENTENCE.findall(COMMAND.sub("", text))


def visible(page: str) -> str:
    """What a reader sees or hears of a page: its text, and the attributes that are read aloud."""
    spoken = re.findall(r'(?:alt|aria-label|data-label|data-one|data-more)="([^"]*)"', page)
    page = re.sub(r"<(style|script).*?</\1>|<metadata.*?</metadata>", "", page, flags=re.DOTALL)
    return html.unescape("\n".join([re.sub(r"<[^>]+>", "\n", page), *spoken]))
