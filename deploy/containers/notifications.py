"""Prints the notifications that Alertmanager sends, one line each: a pager for trying things out."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

LONGEST = 1 << 20


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        text = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LONGEST))
        try:
            for alert in json.loads(text)["alerts"]:
                labels, annotations = alert["labels"], alert["annotations"]
                print(self.path, alert["status"], labels["alertname"], annotations.get("description", ""))
        except (ValueError, KeyError, TypeError):
            print(self.path, "is no notification of an Alertmanager")
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""


if __name__ == "__main__":
    HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
