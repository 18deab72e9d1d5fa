"""A stand-in for a Grafana: keeps folders, data sources, dashboards and annotations, and judges every request.

A request that is not among ``ENDPOINTS``, or does not fit its schema, goes to ``problems``. It answers as Grafana
does where that matters here: 404, 409 for taken names, 412 for versions that are not the newest, and so on.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

from tests.grafana.endpoints import ENDPOINTS

TOKEN = "glsa_token"
Answer = tuple[int, Any]


class FakeGrafana:
    """``url`` is where it listens. ``faults``: (method, beginning of the path) → status, body or seconds of silence.
    ``meanwhile`` is called before a dashboard is saved."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.problems: list[str] = []
        self.writes: list[str] = []
        self.faults: dict[tuple[str, str], Any] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        self._numbers = iter(range(1, 100_000))
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, answer = fake.answer(self.command, self.path, body, self.headers.get("Authorization"))
                html = isinstance(answer, str)
                data = answer.encode() if html else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if html else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _any

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def state(self) -> Any:
        """A copy of everything that is kept."""
        return copy.deepcopy((self.folders, self.sources, self.boards, self.annotations))

    # -- judging --------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: Any, authorization: str | None) -> Answer:
        split = urlsplit(target)
        if not split.path.startswith("/api/"):
            return 404, "<html>not found</html>"
        path, query = split.path.removeprefix("/api"), parse_qs(split.query)
        for (m, beginning), fault in self.faults.items():
            if m == method and path.startswith(beginning):
                if isinstance(fault, float):
                    time.sleep(fault)
                    return 200, {}
                return fault if isinstance(fault, tuple) else (fault, {"message": "as told"})
        if authorization != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        for endpoint, schemas in ENDPOINTS.items():
            m, pattern = endpoint.split(" ")
            match = re.fullmatch(re.sub(r"\{\w+\}", "([^/]+)", pattern), path)
            if m == method and match:
                self._judge(endpoint, schemas, query, body)
                if method != "GET":
                    self.writes.append(f"{method} {path}")
                words = ["one" if word.startswith("{") else word for word in pattern.split("/")[1:]]
                given = [*match.groups(), *([body] if body is not None else [])]
                given += [query] if method == "GET" and "query" in schemas else []
                result: Answer = getattr(self, "_".join([method.lower(), *words]))(*given)
                return result
        self.problems.append(f"{method} {path}: not among the endpoints")
        return 404, {"message": "Not found"}

    def _judge(self, endpoint: str, schemas: dict[str, Any], query: dict[str, list[str]], body: Any) -> None:
        for name in query:
            if name not in schemas.get("query", {}):
                self.problems.append(f"{endpoint}: query {name}")
        if (body is None) != ("body" not in schemas):
            self.problems.append(f"{endpoint}: a body is {'missing' if body is None else 'not expected'}")
        elif body is not None:
            for error in jsonschema.Draft202012Validator(schemas["body"]).iter_errors(body):
                self.problems.append(f"{endpoint}: {error.json_path}: {error.message}")

    # -- folders --------------------------------------------------------------------------------------

    def get_folders_one(self, uid: str) -> Answer:
        return (200, self.folders[uid]) if uid in self.folders else (404, {"message": "folder not found"})

    def post_folders(self, body: dict[str, Any]) -> Answer:
        if body["uid"] in self.folders:
            return 412, {"message": "the folder has been changed by someone else"}
        self.folders[body["uid"]] = {**body, "id": next(self._numbers), "version": 1}
        return 200, self.folders[body["uid"]]

    def put_folders_one(self, uid: str, body: dict[str, Any]) -> Answer:
        folder = self.folders[uid]
        if body.get("version") != folder["version"] and not body.get("overwrite"):
            return 412, {"message": "the folder has been changed by someone else"}
        folder.update(title=body["title"], version=folder["version"] + 1)
        return 200, folder

    def delete_folders_one(self, uid: str) -> Answer:
        for board in [b for b, kept in self.boards.items() if kept["meta"]["folderUid"] == uid]:
            del self.boards[board]
        return 200, {"message": f"Folder {self.folders.pop(uid)['title']} deleted"}

    # -- data sources ---------------------------------------------------------------------------------

    def get_datasources_uid_one(self, uid: str) -> Answer:
        return (200, self.sources[uid]) if uid in self.sources else (404, {"message": "Data source not found"})

    def post_datasources(self, body: dict[str, Any]) -> Answer:
        if any(s["name"] == body["name"] or s["uid"] == body["uid"] for s in self.sources.values()):
            return 409, {"message": "data source with the same name already exists"}
        made = {**body, "id": next(self._numbers), "version": 1, "readOnly": False, "user": "", "database": "",
                "basicAuth": False, "basicAuthUser": "", "withCredentials": False, "secureJsonFields": {}}  # fmt: skip
        self.sources[body["uid"]] = made
        return 200, {"id": made["id"], "name": body["name"], "message": "Datasource added", "datasource": made}

    def put_datasources_uid_one(self, uid: str, body: dict[str, Any]) -> Answer:
        kept = self.sources[uid]
        if body.get("version") != kept["version"]:
            return 409, {"message": "Datasource has already been updated by someone else"}
        # What is left out is set to nothing, as Grafana does.
        self.sources[uid] = {"id": kept["id"], "readOnly": False, "isDefault": False, **body,
                             "version": kept["version"] + 1}  # fmt: skip
        return 200, {"message": "Datasource updated", "datasource": self.sources[uid]}

    def delete_datasources_uid_one(self, uid: str) -> Answer:
        del self.sources[uid]
        return 200, {"message": "Data source deleted"}

    # -- dashboards -----------------------------------------------------------------------------------

    def get_dashboards_uid_one(self, uid: str) -> Answer:
        return (200, self.boards[uid]) if uid in self.boards else (404, {"message": "Dashboard not found"})

    def post_dashboards_db(self, body: dict[str, Any]) -> Answer:
        self.meanwhile()
        board, uid = dict(body["dashboard"]), body["dashboard"]["uid"]
        if body["folderUid"] not in self.folders:
            return 404, {"message": "folder not found"}
        kept = self.boards.get(uid)
        if kept is not None:
            if kept["meta"].get("provisioned"):
                return 400, {"message": "Cannot save provisioned dashboard"}
            if board.get("version") != kept["dashboard"]["version"] and not body["overwrite"]:
                return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        version = kept["dashboard"]["version"] + 1 if kept else 1
        board.update(id=kept["dashboard"]["id"] if kept else next(self._numbers), version=version)
        self.boards[uid] = {"dashboard": board, "meta": {"folderUid": body["folderUid"], "provisioned": False}}
        return 200, {"uid": uid, "id": board["id"], "status": "success", "version": version, "url": "", "title": ""}

    def delete_dashboards_uid_one(self, uid: str) -> Answer:
        return 200, {"title": self.boards.pop(uid)["dashboard"]["title"], "message": "deleted", "id": 1}

    def get_search(self, query: dict[str, list[str]]) -> Answer:
        return 200, [
            {"uid": uid, "title": kept["dashboard"]["title"], "tags": kept["dashboard"].get("tags", []),
             "type": "dash-db", "folderUid": kept["meta"]["folderUid"]}
            for uid, kept in self.boards.items()
            if set(query.get("tag", ())) <= set(kept["dashboard"].get("tags", ()))
            and kept["meta"]["folderUid"] in query.get("folderUIDs", [kept["meta"]["folderUid"]])
        ]  # fmt: skip

    # -- annotations ----------------------------------------------------------------------------------

    def get_annotations(self, query: dict[str, list[str]]) -> Answer:
        wanted = set(query.get("tags", ()))
        return 200, [a for a in self.annotations.values() if wanted <= set(a["tags"])]

    def post_annotations(self, body: dict[str, Any]) -> Answer:
        number = next(self._numbers)
        self.annotations[number] = {**body, "id": number, "timeEnd": body["time"], "panelId": 0}
        return 200, {"id": number, "message": "Annotation added"}

    def delete_annotations_one(self, number: str) -> Answer:
        del self.annotations[int(number)]
        return 200, {"message": "Annotation deleted"}
