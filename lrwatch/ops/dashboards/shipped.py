"""The rendered dashboards that came with lrwatch, as JSON, with the reader's own runbooks; needs no SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lrwatch import assets
from lrwatch.errors import LrwatchError
from lrwatch.ops.dashboards.base import PREFIX, TAG

Document = dict[str, Any]


def load(folder: Path | None = None, runbooks: str | None = None) -> list[Document]:
    """Every dashboard of a folder (those that came with lrwatch), by uid.

    Raises:
        LrwatchError: no dashboards there, a file that is none, or one that is not ours: neither uid nor tag say so.
    """
    folder = assets.find("dashboards") if folder is None else folder
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise LrwatchError(f"{folder}: no *.json there; `lrwatch ops dashboards render -o {folder}` writes them")
    return [_read(path, runbooks) for path in paths]


def _read(path: Path, runbooks: str | None) -> Document:
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
        uid, tags = str(board["uid"]), list(board["tags"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LrwatchError(f"{path}: not a dashboard: {type(error).__name__}: {error}") from None
    if not uid.startswith(PREFIX) or TAG not in tags:
        raise LrwatchError(f"{path}: not one of lrwatch's: its uid must begin with {PREFIX}, its tags hold {TAG}")
    if runbooks is not None:
        for variable in board["templating"]["list"]:
            if variable["name"] == "runbooks":
                variable["query"] = runbooks.rstrip("/")
    return dict(board)


def choose(board: Document, uid: str, name: str) -> None:
    """Let the dashboard begin with this data source; its readers may choose another."""
    for variable in board["templating"]["list"]:
        if variable["name"] == "datasource":
            variable["current"] = {"text": name, "value": uid, "selected": True}


def text(board: Document) -> str:
    """As the files are written."""
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"
