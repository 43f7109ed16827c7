"""A page in a real headless browser: Debian's chromium, installed where that is possible."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Written into the test's copy only: it waits for all images, measures, and leaves what it found in the page.
LISTENER = (
    "<script>window.failed = []; addEventListener('error', e => failed.push(String(e.message || e.target.src)), true);"
    "</script>"
)
PROBE = """<script>addEventListener('load', async () => {
  const images = [...document.images];
  await Promise.allSettled(images.map(image => image.decode()));
  const cut = [...document.querySelectorAll('main *, header *, nav *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !element.closest('.table');
  });
  const found = {
    failed: failed,
    requests: performance.getEntriesByType('resource').map(entry => entry.name)
      .filter(name => !name.startsWith('data:')),
    images: images.map(image => [image.alt, image.naturalWidth]),
    tables: [...document.querySelectorAll('table')].map(table => table.tBodies[0].rows.length),
    headings: [...document.querySelectorAll('h2')].map(heading => heading.textContent),
    dead: [...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1))
      .filter(name => !document.getElementById(name)),
    cut: cut.map(element => element.outerHTML.slice(0, 120)),
    width: [innerWidth, document.documentElement.scrollWidth],
  };
  document.documentElement.dataset.found = JSON.stringify(found);
});</script>"""


@dataclass(frozen=True)
class Seen:
    """What the browser found.

    Attributes:
        console: messages of level warning or error.
        found: as PROBE wrote it.
    """

    console: list[str]
    found: dict[str, Any]


def browser() -> str:
    """Path of a chromium; installs one as root on Debian, else skips the test, but never in CI."""
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.run(command, env=environment, capture_output=True, timeout=280, check=False)
        found = _installed()
    if found is None:
        reason = "no chromium here, and none can be installed (root and apt-get are needed)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def open_page(page: Path, folder: Path, width: int) -> Seen:
    """Open a copy of a page, alone in `folder` and without a network, and see how it looks at a width of pixels."""
    text = page.read_text(encoding="utf-8")
    copy = folder / "alone" / "copy.html"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text.replace("<head>", "<head>" + LISTENER, 1).replace("</body>", PROBE + "</body>", 1))
    done = subprocess.run(
        [
            browser(),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--proxy-server=127.0.0.1:1", "--enable-logging=stderr", "--virtual-time-budget=20000"),
            *(f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000", "--dump-dom", copy.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    written = re.search(r'<html[^>]* data-found="([^"]*)"', done.stdout)
    assert written, f"the page did not load: {done.stdout[:300]} {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(console, json.loads(html.unescape(written[1])))
