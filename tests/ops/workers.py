"""Stand-ins for trainers: processes' metrics as text, served and left in a run directory as the agent does it.

They serve exactly what a test writes, so a test decides at which moment a finding appears or a worker dies.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Worker:
    """One rank of one run. ``samples``: series without ``run_id`` and ``rank`` → value; change them at will."""

    def __init__(self, runs: Path, run: str, rank: int = 0, **samples: float):
        self.run, self.rank = run, rank
        self.samples: dict[str, float] = {"lrwatch_rank_up": 1.0, **samples}
        worker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = worker.text().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.target = runs / run / "targets" / f"rank{rank:05d}.json"
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.target.write_text(json.dumps([{"targets": [self.address], "labels": {"job": "lrwatch"}}]))

    def text(self) -> str:
        """What a scrape reads."""
        lines = []
        for series, value in dict(self.samples).items():
            name, _, labels = series.partition("{")
            own = f'run_id="{self.run}",rank="{self.rank}"'
            lines.append(f"{name}{{{own}{',' + labels if labels else '}'} {value!r}")
        return "\n".join(lines) + "\n"

    def finding(self, code: str, severity: str = "error", active: float = 1.0, **more: object) -> None:
        """Show a finding; ``first`` is its first step, ``cause`` its cause."""
        self.samples[f'lrwatch_finding_active{{code="{code}",severity="{severity}"}}'] = active
        if "first" in more:
            self.samples[f'lrwatch_finding_first_step{{code="{code}"}}'] = float(str(more["first"]))
        if "cause" in more:
            self.samples[f'lrwatch_finding_cause_info{{code="{code}",cause="{more["cause"]}"}}'] = 1.0

    def kill(self) -> None:
        """Gone, without taking the target away."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def close(self) -> None:
        """End as an agent does."""
        self.target.unlink(missing_ok=True)
        self.kill()
