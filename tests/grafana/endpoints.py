"""The part of Grafana's HTTP API that lrwatch uses, as JSON Schemas of our own.

The stand-in of the tests refuses every request that does not fit; `make grafana-conformance API=…` compares all of it
with Grafana's own description of its API.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string", "minLength": 1}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
STRINGS: Schema = {"type": "array", "items": STRING}


def _object(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


SOURCE: dict[str, Schema] = {
    "uid": STRING, "name": STRING, "type": STRING, "access": {"type": "string", "enum": ["proxy", "direct"]},
    "url": STRING, "isDefault": BOOLEAN, "jsonData": OBJECT,
}  # fmt: skip
BOARD: Schema = {
    "type": "object",
    "properties": {"id": {"type": "null"}, "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
                   "title": STRING, "tags": STRINGS, "panels": {"type": "array"}, "version": INTEGER},
    "required": ["id", "uid", "title"],
}  # fmt: skip

ENDPOINTS: dict[str, dict[str, Any]] = {
    "GET /folders/{folder_uid}": {"answer": {"uid": STRING, "title": STRING, "version": INTEGER}},
    "POST /folders": {"body": _object("uid", "title", uid=STRING, title=STRING)},
    "PUT /folders/{folder_uid}": {"body": _object("title", title=STRING, version=INTEGER, overwrite=BOOLEAN)},
    "DELETE /folders/{folder_uid}": {"query": {"forceDeleteRules": BOOLEAN}},
    "GET /datasources/uid/{uid}": {"answer": {**SOURCE, "id": INTEGER, "version": INTEGER, "readOnly": BOOLEAN}},
    "POST /datasources": {"body": _object(*SOURCE, **SOURCE)},
    "PUT /datasources/uid/{uid}": {"body": _object(
        *SOURCE, **SOURCE, version=INTEGER, user={"type": "string"}, database={"type": "string"}, basicAuth=BOOLEAN,
        basicAuthUser={"type": "string"}, withCredentials=BOOLEAN)},
    "DELETE /datasources/uid/{uid}": {},
    "GET /dashboards/uid/{uid}": {"answer": {"dashboard": OBJECT, "meta": OBJECT}},
    "POST /dashboards/db": {"body": _object("dashboard", "folderUid", "overwrite", dashboard=BOARD, folderUid=STRING,
                                            message=STRING, overwrite=BOOLEAN)},
    "DELETE /dashboards/uid/{uid}": {},
    "GET /annotations": {"query": {"tags": STRINGS, "type": STRING, "limit": INTEGER},
                         "answer": {"id": INTEGER, "dashboardUID": STRING, "time": INTEGER, "text": STRING,
                                    "tags": STRINGS}},
    "POST /annotations": {"body": _object("dashboardUID", "time", "tags", "text", dashboardUID=STRING, time=INTEGER,
                                          tags=STRINGS, text=STRING)},
    "DELETE /annotations/{annotation_id}": {},
    "GET /search": {"query": {"tag": STRINGS, "type": STRING, "limit": INTEGER, "folderUIDs": STRINGS},
                    "answer": {"uid": STRING, "title": STRING, "tags": STRINGS, "folderUid": STRING}},
}  # fmt: skip
"""``METHOD /path`` → ``query`` and ``body`` that are sent, ``answer``: the fields that are read (of a list: of each
entry). ``dashboardUID`` is required of an annotation: without it, it would be the whole organisation's."""
