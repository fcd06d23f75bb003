"""Which files hold the code of a user's own model or state: its module, and the modules of the user's that it imports.

A helper beside a model decides numbers as much as the model does. Modules are found as Python finds them, and none is
executed for it, so that every process of a sweep finds the same files.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

#: Names of folders of installed packages, which have versions, and folders of Python's own; own code lies elsewhere,
#: whatever it is called.
INSTALLED = {"site-packages", "dist-packages"}
LIBRARY = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def own_files(modules: Iterable[str]) -> dict[str, Path]:
    """Files of modules that are no part of mmbench, and of all that they import, by the dotted name of the module.

    Followed are statements, wherever in a file they stand, to modules that are not installed or belong to the package
    of one of ``modules``. A name that is put together while the code runs is not seen.

    Args:
        modules: dotted names of modules that have been imported.
    """
    seen = {around for name in modules if not _is_ours(name) for around in _with_packages(name)}
    packages, waiting = {name.partition(".")[0] for name in seen}, sorted(seen)
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        spec = _spec(name)
        if spec is None or not _is_own(spec, packages):
            continue
        if spec.origin is not None and spec.has_location:
            found[name] = Path(spec.origin)
            new = set(_imported(found[name], spec.parent or "")) - seen
            seen |= new
            waiting += sorted(new)
    return dict(sorted(found.items()))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == __name__.partition(".")[0]


def _with_packages(name: str) -> list[str]:
    """A dotted name after those of the packages around it, which are imported before it."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _is_own(spec: ModuleSpec, packages: Iterable[str]) -> bool:
    """Whether a module is somebody's own code; one without a file, such as a folder of modules, has no code."""
    if spec.name.partition(".")[0] in packages:
        return True
    file = Path(spec.origin or "")
    return INSTALLED.isdisjoint(file.parts) and not any(file.is_relative_to(folder) for folder in LIBRARY)


def _spec(name: str) -> ModuleSpec | None:
    """Where a module comes from; None where there is none of this name. Packages around it are not imported."""
    known = sys.modules.get(name)
    spec: ModuleSpec | None = getattr(known, "__spec__", None)
    if spec is None and (file := getattr(known, "__file__", None)) is not None:  # a script
        spec = importlib.util.spec_from_file_location(name, file)
    if spec is not None:
        return spec
    path, parent = None, name.rpartition(".")[0]
    if parent:
        around = _spec(parent)
        if around is None or around.submodule_search_locations is None:
            return None
        path = list(around.submodule_search_locations)
    finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next((spec for finder in finders if (spec := finder.find_spec(name, path)) is not None), None)


@functools.cache
def _imported(file: Path, package: str) -> tuple[str, ...]:
    """Dotted names that the statements of a file may import, with the packages around them. Read once per process.

    Args:
        file: the file.
        package: the package that relative names begin at.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # compiled code
        return ()
    named = {dotted for node in ast.walk(tree) for dotted in _named(node, package) if not _is_ours(dotted)}
    return tuple(sorted({name for dotted in named for name in _with_packages(dotted)}))


def _named(node: ast.AST, package: str) -> Iterator[str]:
    """What a statement imports: modules, and names in them that may be modules too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")
        around = parents[: max(len(parents) - node.level + 1, 0)] if node.level else []
        base = ".".join([*around, *([node.module] if node.module else [])])
        if base:
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
