"""The only finder of the files that lrwatch ships beside its code: alerts/, dashboards/, deploy/.

They stand at the top level of the repository; a wheel carries a copy of them inside the package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lrwatch.errors import LrwatchError

FOLDERS: Final = ("alerts", "dashboards", "deploy")


def root(package: Path = Path(__file__).parent) -> Path:
    """The directory that holds every folder of ``FOLDERS``.

    ``package/_assets`` where it exists (an installed wheel), else the directory above ``package``
    (a checkout or an editable install of one). Raises ``LrwatchError`` when neither holds all of them.
    """
    for place in (package / "_assets", package.parent):
        if all((place / name).is_dir() for name in FOLDERS):
            return place
    raise LrwatchError(
        f"{package}: neither _assets/ in it nor the directory above it holds {'/, '.join(FOLDERS)}/; "
        "install the lrwatch wheel, or run from a complete checkout"
    )


def find(name: str) -> Path:
    """The path of one shipped file or folder, e.g. ``find("dashboards/lrwatch.json")``.

    Raises ``LrwatchError`` when nothing is there.
    """
    path = root() / name
    if not path.exists():
        raise LrwatchError(f"{name}: not among the files shipped with lrwatch; looked in {root()}")
    return path
