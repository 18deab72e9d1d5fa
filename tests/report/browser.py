"""A headless Chromium, driven over a pipe in its own protocol: open a page, ask it things, press keys, look at it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-extensions", "--hide-scrollbars",
    "--window-size=1200,900",
)  # fmt: skip


class Browser:
    """One browser with one page.

    Attributes:
        console: what the page wrote there, errors included.
    """

    def __init__(self, program: str, profile: Path):
        to_browser, ours = os.pipe()
        theirs, from_browser = os.pipe()
        self._write, self._read = os.fdopen(ours, "wb"), os.fdopen(theirs, "rb")

        def three_and_four() -> None:  # where Chromium expects the pipe
            a, b = os.dup(to_browser), os.dup(from_browser)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=three_and_four,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._sent, self._session = 0, ""
        self._asked: dict[str, str] = {}
        self._loaded: set[str] = set()
        self.console: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._write.close()
        self._read.close()

    # -- the protocol -------------------------------------------------------------------------------

    def call(self, method: str, **params: Any) -> Any:
        """One command and its result; what happens meanwhile is noted."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        parts = []
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser has gone"
            parts.append(byte)
        answer: dict[str, Any] = json.loads(b"".join(parts))
        params = answer.get("params", {})
        if answer.get("method") == "Network.requestWillBeSent":
            self._asked[params["requestId"]] = params["request"]["url"]
        elif answer.get("method") == "Network.loadingFailed" and params.get("blockedReason") == "csp":
            del self._asked[params["requestId"]]
        elif answer.get("method") == "Page.lifecycleEvent" and params["name"] == "load":
            self._loaded.add(params["loaderId"])
        elif answer.get("method") == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif answer.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
        elif answer.get("method") == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        return answer

    # -- what a person does --------------------------------------------------------------------------

    def open(self, path: Path, *, dark: bool = False, width: int = 1200, scripts: bool = True) -> None:
        """Load a file; ``requests`` and ``console`` begin anew."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._asked.clear()
        self.console.clear()
        loader = self.call("Page.navigate", url=path.resolve().as_uri())["loaderId"]
        while loader not in self._loaded:  # this page's own: another's may come late, and its own before the answer
            self._next()
        self._asked = {key: url for key, url in self._asked.items() if url != path.resolve().as_uri()}

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for and that its policy let pass, besides its own."""
        return [*self._asked.values()]

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, after the page has drawn itself."""
        settled = f"new Promise(done => requestAnimationFrame(() => setTimeout(() => done({expression}))))"
        answer = self.call("Runtime.evaluate", expression=settled, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key, as the keyboard gives it."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0, **text)

    def drag(self, selector: str, start: float, end: float) -> None:
        """The pointer pressed across an element, from and to these shares of its width."""
        x, y, width, height = self.ask(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect(); "
            f"return [b.x, b.y, b.width, b.height] }})(document.querySelector({json.dumps(selector)}))"
        )
        at = [x + width * start, x + width * end]
        for kind, where in (
            ("mouseMoved", at[0]),
            ("mousePressed", at[0]),
            ("mouseMoved", at[1]),
            ("mouseReleased", at[1]),
        ):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=where, y=y + height / 2, clickCount=1,
                button="none" if kind == "mouseMoved" else "left", buttons=0 if kind == "mouseReleased" else 1,
            )  # fmt: skip

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]  # asking the page would need scripts
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def paper(self) -> bytes:
        """The page as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])
