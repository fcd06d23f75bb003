"""Hooks of mkdocs: pages from files outside ``docs/``, notebooks as pages, and links between all of them.

``mkdocs.yml`` names this file as a hook. Links in the sources are those of the repository, so they also work when a
file is read there. Here they become links of the site, or a plain path where the site has no page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from markdown.extensions.toc import slugify_unicode
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tests.docs import notebooks
from tests.docs.links import IMAGE, LINK, target

ROOT = Path(__file__).resolve().parents[2]
#: Pages whose source is a file of the repository.
SOURCES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
PAGES = {source: page for page, source in SOURCES.items()}
#: Set to 0 to show notebooks without running them.
RUN = "DOCS_RUN_NOTEBOOKS"
ROLE = re.compile(r":(?:math|func|class|meth|mod|data|attr):(?=<)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Keep Japanese headings in the anchors, as a reader of the repository has them."""
    config.mdx_configs["toc"]["slugify"] = slugify_unicode
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are no Markdown files of ``docs/``."""
    for page, source in SOURCES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for file in notebooks.FILES:
        source_file = files.get_file_from_path(f"notebooks/{file.name}")
        if source_file is not None:
            files.remove(source_file)
        notebook = notebooks.read(file) if os.environ.get(RUN) == "0" else notebooks.run(file)
        text, pictures = notebooks.as_markdown(notebook, file.stem)
        files.append(File.generated(config, f"notebooks/{file.stem}.md", content=text))
        for name, data in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    place = page.file.src_uri
    return linked(markdown, SOURCES.get(place, f"docs/{place}"), PurePosixPath(place))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remove the roles of docstrings; the text behind them is formatted as code already."""
    return ROLE.sub("", html)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Tell the browser which pages are Japanese."""
    return output.replace('<html lang="en"', '<html lang="ja"', 1) if page.file.src_uri.startswith("ja/") else output


def linked(markdown: str, source: str, page: PurePosixPath) -> str:
    """A page with the links of the site.

    Args:
        markdown: its text.
        source: path of its file within the repository.
        page: path within the site's sources.
    """
    for kind, mark in ((IMAGE, "!"), (LINK, "")):
        markdown = kind.sub(lambda match, mark=mark: mark + _link(match, source, page), markdown)
    return markdown


def _link(match: re.Match[str], source: str, page: PurePosixPath) -> str:
    destination = target(source, match["address"])
    if destination is None:
        return match[0].removeprefix("!")
    path, mark, heading = destination.partition("#")
    if path in PAGES or path.startswith("docs/"):
        place = PurePosixPath(PAGES.get(path, path.removeprefix("docs/")))
        if place.suffix == ".py":
            place = place.with_suffix(".md")
        return f"[{match['text']}]({os.path.relpath(place, page.parent)}{mark}{heading})"
    bare = match["text"].strip("`")
    return f"`{path}`" if path.endswith(bare) else f"{match['text']} (`{path}`)"
