"""YAML files of keys and values: economics, and configurations that were tuned elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmbench.data.regular_file import regular_file
from mmbench.messages import Refusal

#: What such a file stays below: one of economics has some fifty keys, three deep.
MOST_BYTES, MOST_DEPTH, MOST_LETTERS = 1 << 16, 8, 200
#: So far back a number is looked at that a comma cuts in two.
MOST_DIGITS = 20


def plain_yaml(file: Path) -> Mapping[str, Any]:
    """Keys and values of a file that anybody may have written.

    Raises:
        ValueError: for a file that holds more, or something else.
    """
    with regular_file(file).open("rb") as opened:
        raw = opened.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise Refusal("{file} is larger than {most} bytes; it must hold keys and values", file=file, most=MOST_BYTES)
    try:
        text = raw.decode("utf-8-sig")
        _check_plain(file, text)
        content = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except Refusal:
        raise
    except UnicodeDecodeError as error:
        raise Refusal(
            "{path}, line {line}: a byte that is not {encoding}; save the file as UTF-8",
            path=file,
            line=raw[: error.start].count(b"\n") + 1,
            encoding="UTF-8",
        ) from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise Refusal("{file} is no YAML file: {error}", file=file, error=" ".join(str(error).split())) from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _check_plain(file: Path, text: str) -> None:
    """Refuse what a file of keys and values needs not and what could grow, or read something else, when it is loaded.

    Events of the parser come one after the other, whatever the depth, and nothing is built of them.
    """
    depth = 0
    braces = [False]  # of each collection that is open, whether it is a mapping within braces
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = {"file": file, "line": event.start_mark.line + 1}
        if isinstance(event, yaml.AliasEvent):
            raise Refusal("{file}, line {line}: an alias (*name) is not read here; write the value itself", **where)
        if isinstance(event, yaml.ScalarEvent):
            if "${" in event.value:
                raise Refusal("{file}, line {line}: ${{...}} is not read here; write the value itself", **where)
            place = event.start_mark.index
            head = re.search(r"[\d,]*\d,$", text[max(place - MOST_DIGITS, 0) : place])
            if braces[-1] and head and re.fullmatch(r"\d{3}", event.value):
                raise Refusal(
                    "{file}, line {line}: {number} within braces, where a comma begins the next key; write numbers "
                    "without separators of thousands",
                    **where,
                    number=head[0] + event.value,
                )
            if len(event.value) > MOST_LETTERS:
                raise Refusal("{file}, line {line}: a value of more than {most} letters", **where, most=MOST_LETTERS)
        if isinstance(event, yaml.NodeEvent) and depth == 0 and not isinstance(event, yaml.MappingStartEvent):
            raise Refusal("{file} must hold keys and values", file=file)
        if isinstance(event, yaml.CollectionStartEvent):
            braces.append(isinstance(event, yaml.MappingStartEvent) and bool(event.flow_style))
        elif isinstance(event, yaml.CollectionEndEvent):
            braces.pop()
        depth = len(braces) - 1
        if depth > MOST_DEPTH:
            raise Refusal("{file}, line {line}: keys within keys, more than {most} deep", **where, most=MOST_DEPTH)
