"""An S3-protocol server for tests, with faults to order: `python servers.py` serves until its stdin closes.

Prints its port. The store is moto in memory; requests go through `FaultyApp`, whose rules are set by
POST /_faults with a JSON list, each rule of the fields of `Rule`. GET /_faults gives the requests since then.
"""

import json
import logging
import os
import random
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

Environment = dict[str, Any]
StartResponse = Callable[..., Any]


@dataclass(kw_only=True)
class Rule:
    """A fault and the requests that it befalls."""

    kind: str
    """status, ok_error (a 200 with an error inside), delay, reset_before, reset_after (the request takes
    effect, its answer is lost), truncate, corrupt (one byte flipped), drop_condition (If-None-Match and
    If-Match are ignored), kill_before and kill_after (a process is killed as the request arrives, or has
    taken effect)."""
    method: str = ".*"
    path: str = ""
    query: str = ""
    code: str = "SlowDown"
    status: int = 503
    seconds: float = 0.0
    pid: int = 0
    """Process to kill."""
    skip: int = 0
    """How many requests that match go by before the first that it befalls."""
    times: int = 1_000_000
    """How many requests it befalls before it is over."""
    probability: float = 1.0

    def befalls(self, method: str, path: str, query: str, chance: float) -> bool:
        """Whether a request meets it."""
        matches = re.fullmatch(self.method, method) and re.search(self.path, path)
        if not (matches and re.search(self.query, query) and self.times > 0 and chance < self.probability):
            return False
        self.skip -= 1
        return self.skip < 0


class FaultyApp:
    """A WSGI application that breaks another one's answers by rule."""

    def __init__(self, app: Callable[[Environment, StartResponse], Iterable[bytes]]) -> None:
        self.app = app
        self.rules: list[Rule] = []
        self.requests: list[tuple[str, str, str]] = []
        self.chances = random.Random(0)
        self.lock = threading.Lock()
        self.writing = threading.Lock()

    def __call__(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        """Answers a request, well or badly."""
        request = environment["REQUEST_METHOD"], environment["PATH_INFO"], environment.get("QUERY_STRING", "")
        if request[1] == "/_faults":
            return self.control(environment, start)
        with self.lock:
            self.requests.append(request)
            chance = self.chances.random()
            rule = next((r for r in self.rules if r.befalls(*request, chance)), None)
            if rule:
                rule.times -= 1
        return self.plain(environment, start) if rule is None else self.broken(rule, environment, start)

    def plain(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        """Moto's own answer. Of its threads two may find that an object isn't there, and both write it."""
        if environment["REQUEST_METHOD"] != "PUT":
            return self.app(environment, start)
        with self.writing:
            return self.app(environment, start)

    def control(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        with self.lock:
            told = json.dumps(self.requests).encode()
            if environment["REQUEST_METHOD"] == "POST":
                body = environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"]))
                self.rules = [Rule(**rule) for rule in json.loads(body)]
                self.requests.clear()
        start("200 OK", [("Content-Length", str(len(told)))])
        return [told]

    def broken(self, rule: Rule, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        if rule.kind == "delay":
            time.sleep(rule.seconds)
            return self.plain(environment, start)
        if rule.kind == "drop_condition":
            for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"):
                environment.pop(name, None)
            return self.plain(environment, start)
        if rule.kind == "kill_before":
            os.kill(rule.pid, signal.SIGKILL)
        if rule.kind in ("reset_before", "kill_before"):
            reset(environment)
        if rule.kind in ("status", "ok_error"):
            environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
            body = f"<Error><Code>{rule.code}</Code><Message>ordered</Message></Error>".encode()
            status = 200 if rule.kind == "ok_error" else rule.status
            start(f"{status} x", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [b"" if environment["REQUEST_METHOD"] == "HEAD" else body]
        answer: list[Any] = []
        body = b"".join(self.plain(environment, lambda *told: answer.extend(told[:2])))
        if rule.kind == "kill_after":
            os.kill(rule.pid, signal.SIGKILL)
        if rule.kind in ("reset_after", "kill_after"):
            reset(environment)
        if rule.kind == "truncate":
            start(*answer)
            return cut(environment, body)
        start(*answer)
        middle = len(body) // 2
        return [body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]]


def reset(environment: Environment) -> None:
    """Breaks the connection as a crashed peer does."""
    connection = environment["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("ordered")


def cut(environment: Environment, body: bytes) -> Iterable[bytes]:
    """Half of an answer, then the end of the connection."""
    yield body[: len(body) // 2]
    environment["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


class QuietHandler(MotoRequestHandler):
    """Keeps connections open, and the log empty."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: the requests are kept by FaultyApp."""


def serve() -> None:
    """Serves on a free port, of loopback unless an address is given, until stdin closes.

    Which it does however the parent ends.
    """
    logging.disable(logging.CRITICAL)
    app = FaultyApp(DomainDispatcherApplication(create_backend_app))
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    server = make_server(host, 0, app, threaded=True, request_handler=QuietHandler)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve()
