"""A server on this machine that gives out the files of a folder as stores of objects are given out, and its moods."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Mood = Callable[[str, int], int]  # path, and how often it was asked for before: a status, or 0: the line breaks


class Server(ThreadingHTTPServer):
    """Serves a folder over HTTP.

    Args:
        folder: whose files are the objects.
        mood: status of an answer; 200: as it should be.
        delay: seconds before each answer.
        lists: folders are answered with links to what is in them.
        port: 0: a free one.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, mood: Mood, delay: float, lists: bool, port: int) -> None:
        super().__init__(("127.0.0.1", port), Objects)
        self.folder, self.mood, self.delay, self.lists = folder, mood, delay, lists
        self.heeds_range = True
        self.asked: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def answering(self, path: str) -> Iterator[int]:
        """How often this path was asked for before."""
        with self._lock:
            before = self.asked.count(path)
            self.asked.append(path)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield before
        finally:
            with self._lock:
                self._now -= 1


class Objects(BaseHTTPRequestHandler):
    """Answers GET with an object or a part of it, and HEAD."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = _key(self.path)
        with self.server.answering(path) as before:
            time.sleep(self.server.delay)
            file = self.server.folder / path
            status = self.server.mood(path, before)
            folder = self.server.lists and file.is_dir()
            if status == 200 and not (file.is_file() or folder):
                status = 404
            body = b"no" if status != 200 else _links(file) if folder else file.read_bytes()
            if status == 200 and self.server.heeds_range and (wanted := self.headers.get("Range")):
                first, last = wanted.removeprefix("bytes=").split("-")
                body = body[int(first) : int(last) + 1 if last else None] if first else body[-int(last) :]
                status = 206
            if status == 0:
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "text/html" if folder else "application/octet-stream")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    do_HEAD = do_GET


def _key(path: str) -> str:
    """Name of the object that a path of HTTP, S3 or Google's JSON interface asks for."""
    google = re.match(r"/download/storage/v1/b/([^/]+)/o/([^?]+)", path)
    return f"{google[1]}/{unquote(google[2])}" if google else path.lstrip("/").split("?")[0]


def _links(folder: Path) -> bytes:
    names = (entry.name + "/" * entry.is_dir() for entry in sorted(folder.iterdir()))
    return "".join(f'<li><a href="{name}">{name}</a></li>' for name in names).encode()


@contextmanager
def serving(
    folder: Path, mood: Mood = lambda path, before: 200, *, delay: float = 0.0, lists: bool = False, port: int = 0
) -> Iterator[Server]:
    """A server that runs within the block."""
    server = Server(folder, mood, delay, lists, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
