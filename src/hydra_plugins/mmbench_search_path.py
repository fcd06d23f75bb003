"""Lets installed packages bring configuration files, so that ``model=mine`` needs no ``--config-dir``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OfferedConfigurations(SearchPathPlugin):
    """Adds the packages that entry points of the group ``mmbench.conf`` name, behind the files of mmbench."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them; every application that uses Hydra calls this, so it looks first whether it is mmbench."""
        from mmbench import extensions, paths

        ours = paths.config_dir()
        if any(Path(part.path.removeprefix("file://")) == ours for part in search_path.get_path() if part.path):
            for name, package in extensions.offered(extensions.CONFIGURATIONS).items():
                search_path.append(f"{extensions.CONFIGURATIONS}:{name}", f"pkg://{package}")
