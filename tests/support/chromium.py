"""Chromium without a screen, told what to do by the DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import Any

LONGEST_WAIT = 60
"""Seconds for which no answer may come."""
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe", "--force-device-scale-factor=1", "about:blank",
)  # fmt: skip
_TOLD, _TELLS = 3, 4
"""The descriptors on which Chromium reads and writes."""


class Failed(AssertionError):
    """A call that the browser refused, or an exception in a page."""


class Browser:
    """A browser with one page: `said` is what that wrote to the console, `requested` the addresses it asked for."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._number, self._rest = to, back, 0, b""
        self._events = deque[dict[str, Any]]()
        self.said: list[str] = []
        self.requested: list[str] = []
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method and wait for its answer; Failed."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (answer := self._next()).get("id") != self._number:
            self._events.append(answer)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    def event(self, method: str) -> Any:
        """Wait for the next event of this name."""
        while True:
            found = self._events.popleft() if self._events else self._next()
            if found.get("method") == method:
                return found["params"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._back], [], [], LONGEST_WAIT)[0]:
                raise Failed("the browser does not answer")
            data = os.read(self._back, 1 << 20)
            if not data:
                raise Failed("the browser is gone")
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.said.append(text.decode())
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        return message

    def open(self, address: str) -> None:
        """Open a page and wait until it is there."""
        self._events.clear()
        self.said.clear()
        self.requested.clear()
        self.call("Page.navigate", url=address)
        self.event("Page.loadEventFired")

    def tell(self, script: str) -> Any:
        """Evaluate a script in the page, and what it promises; its value."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise Failed(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait, frame by frame, until a condition holds in the page; Failed."""
        longest_wait = f"performance.now() < begin + {1000 * LONGEST_WAIT // 2}"
        met = self.tell(f"""new Promise(done => {{
            const begin = performance.now();
            const look = () => {{
                const met = Boolean({condition});
                if (met || !({longest_wait})) done(met); else requestAnimationFrame(look);
            }};
            look();
        }})""")
        if not met:
            raise Failed(
                f"{condition}: not within {LONGEST_WAIT // 2} s; the page has: {self.tell('document.body.innerText')}"
            )

    def spoken(self) -> list[tuple[str, str, str]]:
        """What a screen reader is told, in its order: role, name and description of each thing that has one."""
        nodes = {node["nodeId"]: node for node in self.call("Accessibility.getFullAXTree")["nodes"]}
        root = next(node for node in nodes.values() if "parentId" not in node)
        found, todo = list[tuple[str, str, str]](), [root["nodeId"]]
        while todo:
            node = nodes[todo.pop()]
            todo += reversed(node.get("childIds", []))
            role, name, more = (node.get(what, {}).get("value", "") for what in ("role", "name", "description"))
            if not node["ignored"] and role not in ("none", "generic", "InlineTextBox", "StaticText", "ListMarker"):
                found.append((role, name, more))
        return found

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and let it go."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key, 0)
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move the mouse, or press (`mousePressed`) and release (`mouseReleased`) its button."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1, **more)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Take a window of this size, in light or dark."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def quit(self) -> None:
        """Let the browser end."""
        self._session = None
        self.call("Browser.close")

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def browser(program: str | None = None, **environment: str) -> Iterator[Browser]:
    """A Chromium of its own, with an empty profile, gone with all its processes afterwards."""
    chromium = program or shutil.which("chromium")
    if chromium is None:
        raise Failed("there is no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        told, to = os.pipe()
        back, tells = os.pipe()
        start = f'exec {_TOLD}<&{told} {_TELLS}>&{tells} "$@"'
        process = subprocess.Popen(
            ["/bin/bash", "-c", start, "chromium", chromium, f"--user-data-dir={home}", *_OPTIONS],
            pass_fds=(told, tells), env={**os.environ, "HOME": home, **environment}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(told)
        os.close(tells)
        try:
            found = Browser(to, back)
            yield found
            found.quit()
            process.wait(LONGEST_WAIT)
        finally:
            os.close(to)
            os.close(back)
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
