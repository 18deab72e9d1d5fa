"""Runs lrwatch's command line where grafana-client is: one JSON list of words per line in, one JSON object out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys


def main() -> None:
    # Behind its own packages: urllib3 is to be the one that grafana-client brings.
    sys.path += json.loads(sys.argv[1])
    from lrwatch.cli import main as run

    for line in sys.stdin:
        asked = json.loads(line)
        os.environ.update(asked["env"])
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                run(asked["words"])
            except SystemExit as left:
                code = int(left.code or 0)
        print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), flush=True)


main()
