"""The Grafana API, as far as it is used here. The only home of grafana_client.

Every refusal of the server becomes one sentence: where, what was tried, what it said, what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlparse

from lrwatch.errors import LrwatchError, MissingExtra

URL, TOKEN = "GRAFANA_URL", "GRAFANA_TOKEN"
MOST: Final = 5000
"""Annotations and dashboards that are asked for at once."""

Document = dict[str, Any]
J = TypeVar("J")


def token(file: Path | None) -> str:
    """The token: of a file, else of the environment; never of the command line, which others can read.

    Raises:
        LrwatchError: neither is given, or the file has none.
    """
    if file is not None:
        try:
            found = file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise LrwatchError(f"--token-file {file}: {getattr(error, 'strerror', None) or error}") from None
        if not found or len(found.split()) > 1:
            raise LrwatchError(f"--token-file {file}: must hold one token and nothing else")
        return found
    if found := os.environ.get(TOKEN, "").strip():
        return found
    raise LrwatchError(f"no token: set {TOKEN}, or name a file with --token-file (of a service account, role Editor)")


class Grafana:
    """A server. Raises ``LrwatchError`` for whatever it refuses."""

    def __init__(self, url: str, token: str, timeout: float = 10.0):
        parsed = urlparse(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise LrwatchError(f"{url}: not an address of a Grafana, as in https://grafana.example or http://host:3000")
        if parsed.username or parsed.password or parsed.query:
            raise LrwatchError(f"{parsed.hostname}: no credentials and no query in the address; set {TOKEN}")
        try:
            from grafana_client import GrafanaApi, TokenAuth
        except ModuleNotFoundError:
            raise MissingExtra("lrwatch ops grafana", "grafana") from None
        self.url, self.timeout = url.rstrip("/"), timeout
        # The client joins its own path to that of the address without a slash between.
        self._api: Any = GrafanaApi.from_url(self.url + "/" if parsed.path.strip("/") else self.url,
                                             credential=TokenAuth(token), timeout=timeout)  # fmt: skip

    # -- folders --------------------------------------------------------------------------------------

    def folder(self, uid: str) -> Document | None:
        return self._find(f"read folder {uid}", lambda: self._api.folder.get_folder(uid))

    def create_folder(self, uid: str, title: str) -> None:
        self._do(f"create folder {uid}", lambda: self._api.folder.create_folder(title, uid))

    def rename_folder(self, uid: str, title: str, version: int) -> None:
        self._do(f"rename folder {uid}", lambda: self._api.folder.update_folder(uid, title, version=version))

    def delete_folder(self, uid: str) -> None:
        self._do(f"delete folder {uid}", lambda: self._api.folder.delete_folder(uid))

    def in_folder(self, uid: str) -> list[Document]:
        """The dashboards and folders in a folder."""
        return self._list(f"list folder {uid}", lambda: self._api.search.search_dashboards(folder_uids=uid, limit=MOST))

    # -- data sources ---------------------------------------------------------------------------------

    def source(self, uid: str) -> Document | None:
        return self._find(f"read data source {uid}", lambda: self._api.datasource.get_datasource_by_uid(uid))

    def create_source(self, source: Mapping[str, Any]) -> None:
        self._do(f"create data source {source['uid']}", lambda: self._api.datasource.create_datasource(dict(source)))

    def update_source(self, uid: str, source: Mapping[str, Any]) -> None:
        self._do(f"update data source {uid}", lambda: self._api.datasource.update_datasource_by_uid(uid, dict(source)))

    def delete_source(self, uid: str) -> None:
        self._do(f"delete data source {uid}", lambda: self._api.datasource.delete_datasource_by_uid(uid))

    # -- dashboards -----------------------------------------------------------------------------------

    def board(self, uid: str) -> Document | None:
        """``dashboard`` and ``meta``."""
        return self._find(f"read dashboard {uid}", lambda: self._api.dashboard.get_dashboard(uid))

    def save_board(self, board: Mapping[str, Any], folder: str, overwrite: bool) -> None:
        request = {"dashboard": dict(board), "folderUid": folder, "message": "lrwatch ops grafana apply",
                   "overwrite": overwrite}  # fmt: skip
        self._do(f"save dashboard {board['uid']}", lambda: self._api.dashboard.update_dashboard(request))

    def delete_board(self, uid: str) -> None:
        self._do(f"delete dashboard {uid}", lambda: self._api.dashboard.delete_dashboard(uid))

    def tagged(self, tag: str) -> list[Document]:
        """The dashboards with a tag."""
        return self._list("list dashboards",
                          lambda: self._api.search.search_dashboards(tag=tag, type_="dash-db", limit=MOST))  # fmt: skip

    # -- annotations ----------------------------------------------------------------------------------

    def annotations(self, tags: tuple[str, ...]) -> list[Document]:
        """Those with all of the tags."""
        written = [quote(tag, safe="") for tag in tags]
        return self._list("list annotations",
                          lambda: self._api.annotations.find_annotations(
                              ann_type="annotation", tags=written, limit=MOST))  # fmt: skip

    def annotate(self, annotation: Mapping[str, Any]) -> None:
        self._do("write an annotation", lambda: self._api.client.POST("/annotations", json=dict(annotation)))

    def delete_annotation(self, number: int) -> None:
        self._do(f"delete annotation {number}", lambda: self._api.annotations.delete_annotations_by_id(number))

    # -- how it is asked ------------------------------------------------------------------------------

    def _find(self, doing: str, call: Callable[[], Any]) -> Document | None:
        try:
            with self._explained(doing):
                found = call()
        except _Absent:
            return None
        return self._json(doing, found, dict)

    def _list(self, doing: str, call: Callable[[], Any]) -> list[Document]:
        return self._json(doing, self._do(doing, call), list)

    def _do(self, doing: str, call: Callable[[], Any]) -> Any:
        try:
            with self._explained(doing):
                return call()
        except _Absent:
            gone = "it is not there any more (404); run the command again"
            raise LrwatchError(f"{self.url}: cannot {doing}: {gone}") from None

    def _json(self, doing: str, answer: Any, kind: type[J]) -> J:
        if not isinstance(answer, kind):
            raise LrwatchError(
                f"{self.url}: cannot {doing}: the answer is no JSON of Grafana's API; a proxy with a login page in "
                "front of it? give the address under which /api answers"
            )
        return answer

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        from grafana_client.client import GrafanaException

        where = f"{self.url}: cannot {doing}"
        try:
            yield
        except GrafanaException as error:
            code, said = int(error.status_code or 0), _said(error.response)
            if code == 404 and said is None:
                raise LrwatchError(f"{where}: no Grafana API at this address (404); is a sub-path missing?") from None
            if code == 404:
                raise _Absent from None
            if code == 0:
                raise LrwatchError(f"{where}: no answer within {self.timeout:g} s; --timeout allows more") from None
            raise LrwatchError(f"{where}: {_meaning(code)} ({code}{f': {said}' if said else ''})") from None
        except (OSError, ValueError) as error:  # not reached at all, or an answer that cannot be read
            raise LrwatchError(f"{where}: {_reason(error)}") from None


class _Absent(Exception):
    """404 of a resource."""


def _reason(error: BaseException) -> str:
    """What the system says at the bottom of an error: the layers above wrap it in their own names."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return " ".join(str(error).split())[:200] or type(error).__name__


def _said(response: Any) -> str | None:
    """What the server says of it, None when that is not Grafana's way of saying it."""
    return " ".join(str(response["message"]).split()) if isinstance(response, dict) and "message" in response else None


def _meaning(code: int) -> str:
    meanings = {
        400: "the server calls the request wrong",
        401: f"the token is not accepted; make a new one, and set {TOKEN} or --token-file",
        403: "the token may not do that; it needs the role Editor, for data sources Admin, or the permissions that "
             "docs/grafana.md lists",
        409: "the name or the uid is taken by something else; rename that, or use --datasource or --folder",
        412: "somebody changed it since it was read; look at `diff` and run the command again, or pass --force",
        422: "the server cannot process the request",
        429: "too many requests; wait and run the command again",
    }  # fmt: skip
    if code >= 500:
        return "the server failed; what was done stays done, and the command can be run again"
    return meanings.get(code, "refused")
