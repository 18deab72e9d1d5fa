"""What is there against what should be: the differences in words, and the calls that remove them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from lrwatch.errors import LrwatchError
from lrwatch.ops.dashboards.base import PREFIX, TAG
from lrwatch.ops.grafana.annotations import BOARDS, MARK
from lrwatch.ops.grafana.client import Grafana
from lrwatch.ops.grafana.wanted import FOLDER, SOURCE, Document, Wanted

SHOWN: Final = 12
"""Differences of one thing that are written out."""
OF_THE_SERVER: Final = ("id", "version")
"""Fields of a dashboard that the server sets."""

Action = Literal["create", "update", "delete", "keep", "refuse"]


@dataclass(frozen=True)
class Change:
    """One thing in the Grafana. ``lines``: what differs, or why it is refused; ``do`` carries it out."""

    action: Action
    kind: str
    uid: str
    lines: tuple[str, ...] = ()
    do: Callable[[], None] = field(default=lambda: None, compare=False)


def to_apply(grafana: Grafana, wanted: Wanted, force: bool = False) -> list[Change]:
    """What `apply` would do, in that order; nothing is written. ``force``: also over what is not ours."""
    changes = [_folder(grafana, wanted.folder)]
    if wanted.source is not None:
        changes.append(_source(grafana, wanted.source, force))
    changes += [_board(grafana, board, force) for board in wanted.boards]
    for run, marks in wanted.annotations:
        changes += _annotations(grafana, run, marks)
    return changes


def to_delete(grafana: Grafana, wanted: Wanted) -> list[Change]:
    """What `delete` would do: annotations of the named runs, dashboards, data source, the folder if that empties it."""
    changes = []
    for run, _ in wanted.annotations:
        changes += _annotations(grafana, run, ())
    ours = [hit["uid"] for hit in grafana.tagged(TAG) if str(hit["uid"]).startswith(PREFIX)]
    for uid in sorted(ours):
        changes.append(Change("delete", "dashboard", uid, do=partial(grafana.delete_board, uid)))
    source = grafana.source(SOURCE)
    if source is not None:
        if source.get("readOnly"):
            changes.append(Change("refuse", "data source", SOURCE, ("it is provisioned from a file: delete it there",)))
        else:
            changes.append(Change("delete", "data source", SOURCE, do=lambda: grafana.delete_source(SOURCE)))
    if grafana.folder(FOLDER) is not None:
        others = [hit for hit in grafana.in_folder(FOLDER) if hit["uid"] not in ours]
        if others:
            names = ", ".join(f"{hit['title']!r}" for hit in others[:3])
            changes.append(Change("keep", "folder", FOLDER, (f"{len(others)} not of ours in it: {names}",)))
        else:
            changes.append(Change("delete", "folder", FOLDER, do=lambda: grafana.delete_folder(FOLDER)))
    return changes


def carry_out(changes: list[Change], done: Callable[[Change], None]) -> None:
    """Do it; ``done`` is told of each thing afterwards.

    Raises:
        LrwatchError: something is refused (then nothing at all was done), or the server refuses.
    """
    if refused := [change for change in changes if change.action == "refuse"]:
        first, more = refused[0], f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise LrwatchError(f"{first.kind} {first.uid}: {first.lines[0]}{more}; nothing was written")
    for change in changes:
        change.do()
        done(change)


# -- one thing at a time ------------------------------------------------------------------------------


def _folder(grafana: Grafana, title: str) -> Change:
    there = grafana.folder(FOLDER)
    if there is None:
        return Change("create", "folder", FOLDER, do=lambda: grafana.create_folder(FOLDER, title))
    if there.get("title") == title:
        return Change("keep", "folder", FOLDER)
    lines = tuple(_differences({"title": there.get("title")}, {"title": title}))
    version = int(there.get("version") or 0)
    return Change("update", "folder", FOLDER, lines, lambda: grafana.rename_folder(FOLDER, title, version))


def _source(grafana: Grafana, source: Document, force: bool) -> Change:
    there = grafana.source(SOURCE)
    if there is None:
        return Change("create", "data source", SOURCE, do=lambda: grafana.create_source(source))
    # Whether it is the default is the organisation's affair, and stays as it is; so does all that we do not set.
    ours = {key: value for key, value in source.items() if key != "isDefault"}
    merged = {**there, **ours, "jsonData": {**(there.get("jsonData") or {}), **source["jsonData"]}}
    lines = tuple(_differences({key: there.get(key) for key in merged}, merged))
    if not lines:
        return Change("keep", "data source", SOURCE)
    if there.get("readOnly"):
        return Change("refuse", "data source", SOURCE, ("it is provisioned from a file: change it there", *lines))
    if there.get("type") != source["type"] and not force:
        return Change("refuse", "data source", SOURCE, ("it is not of lrwatch; --force overwrites it", *lines))
    sent: Document = {key: merged[key] for key in _SOURCE_FIELDS if key in merged}
    return Change("update", "data source", SOURCE, lines, lambda: grafana.update_source(SOURCE, sent))


_SOURCE_FIELDS: Final[tuple[str, ...]] = (
    "uid", "name", "type", "access", "url", "user", "database", "basicAuth", "basicAuthUser", "withCredentials",
    "isDefault", "jsonData", "version",
)  # fmt: skip


def _board(grafana: Grafana, board: Document, force: bool) -> Change:
    uid = str(board["uid"])
    there = grafana.board(uid)
    if there is None:
        return Change("create", "dashboard", uid, do=lambda: grafana.save_board({**board, "id": None}, FOLDER, False))
    meta, old = there.get("meta", {}), there.get("dashboard", {})
    lines = list(_differences(_bare(old), _bare(board)))
    if meta.get("folderUid") != FOLDER:
        lines.insert(0, f"folder: {meta.get('folderUid') or 'none'} there, {FOLDER} here")
    if not lines:
        return Change("keep", "dashboard", uid)
    if meta.get("provisioned"):
        return Change("refuse", "dashboard", uid, ("it is provisioned from a file: change it there", *lines))
    if TAG not in (old.get("tags") or ()) and not force:
        why = f"it has no tag {TAG}, so it is not ours; --force overwrites it"
        return Change("refuse", "dashboard", uid, (why, *lines))
    # The version that was read: who saves in between is not overwritten, but makes this fail (412).
    sent = {**board, "id": None, "version": old.get("version", 0)}
    return Change("update", "dashboard", uid, tuple(lines), lambda: grafana.save_board(sent, FOLDER, force))


def _annotations(grafana: Grafana, run: str, wanted: tuple[Document, ...]) -> list[Change]:
    there = {_key(a): a for a in grafana.annotations((TAG, run, MARK)) if a.get("dashboardUID") in BOARDS}
    fresh = {_key(a): a for a in wanted}
    missing = [a for key, a in fresh.items() if key not in there]
    surplus = [a for key, a in there.items() if key not in fresh]
    if not missing and not surplus:
        return [Change("keep", "annotations", run, (f"{len(fresh)} of them",))]

    def do() -> None:
        for a in missing:
            grafana.annotate(a)
        for a in surplus:
            grafana.delete_annotation(int(a["id"]))

    lines = [*(f"+ {a['text']}" for a in missing), *(f"- {a['text']}" for a in surplus)]
    action: Action = "delete" if not fresh else "update" if there else "create"
    return [Change(action, "annotations", run, tuple(lines), do)]


def _key(annotation: Mapping[str, Any]) -> tuple[Any, ...]:
    return annotation.get("dashboardUID"), annotation.get("time"), annotation.get("text")


# -- differences --------------------------------------------------------------------------------------


def _bare(board: Mapping[str, Any]) -> Document:
    return {key: value for key, value in board.items() if key not in OF_THE_SERVER}


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Where two documents differ: ``panels[2] (Drift).unit: "s" there, "sci" here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in (*here, *(key for key in there if key not in here)):
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            name = f" ({b['title']})" if isinstance(b, dict) and "title" in b else ""
            yield from _differences(a, b, f"{path}[{i}]{name}")
    elif there != here:
        yield f"{path}: {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
