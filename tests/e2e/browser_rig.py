# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven by its DevTools protocol."""
import base64
import itertools
import json
import shutil
import tempfile
import urllib.request

import websocket  # python3-websocket

from rig.base import Process, wait_for

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0", "--remote-allow-origins=*")
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


def find_chromium():
    return shutil.which("chromium")


class Tab:
    """One page. .errors: what its console, its scripts and its network complained of; .urls: all that it asked for."""

    def __init__(self, url):
        self.socket = websocket.create_connection(url, timeout=30, suppress_origin=True)
        self.ids = itertools.count(1)
        self.errors, self.urls = [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]
            self.note(message)

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(params)
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"])
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    def js(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (expression, result)
        return result["result"].get("value")

    def open(self, url):
        self.ask("Page.navigate", url=url)
        wait_for(lambda: self.js("document.readyState") == "complete", 20, url)
        return self

    def wait_js(self, expression, seconds=20):
        return wait_for(lambda: self.js(expression), seconds, expression)

    def look(self, width=1280, height=900, scheme="light", motion="no-preference"):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme},
                                                         {"name": "prefers-reduced-motion", "value": motion}])

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r" if key == "Enter" else key} if kind == "keyDown" and key != "Tab" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key,
                     windowsVirtualKeyCode=KEYS[key], **text)

    def screenshot(self, path):
        """The whole page, not only what the window shows."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True,
                        clip={**self.ask("Page.getLayoutMetrics")["cssContentSize"], "scale": 1})
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))

    def close(self):
        self.socket.close()


class Chromium:
    """with Chromium() as browser: tab = browser.tab(). `flags`: more of Chromium's own."""

    def __init__(self, *flags):
        self.home = tempfile.mkdtemp(prefix="lethe-chromium-")
        self.process = Process([find_chromium(), *FLAGS, *flags, f"--user-data-dir={self.home}", "about:blank"], env=None)
        self.tabs = []
        line = self.process.wait_until(lambda: next((e for e in self.process.err if "DevTools listening on " in e), None), 60, "DevTools")
        self.where = line.split("ws://")[1].split("/")[0]

    def tab(self):
        request = urllib.request.Request(f"http://{self.where}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=20) as answer:
            self.tabs.append(Tab(json.load(answer)["webSocketDebuggerUrl"]))
        return self.tabs[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for tab in self.tabs:
            tab.close()
        self.process.kill()
        shutil.rmtree(self.home, ignore_errors=True)
