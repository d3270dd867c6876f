"""The server of the page: the standard library's, one machine, one token.

The page has no library and no build step, and asks nothing of any network, so a framework would
bring only more that can be attacked. What is checked of every request: the address begins with
the token, the Host is the one the server was started on, a foreign Origin is refused, and a POST is
JSON of at most a few kilobytes. A page elsewhere therefore cannot ask, and cannot read the answer.
"""

import hmac
import json
import mimetypes
import re
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from erasure.errors import ConfigError, ErasureError
from eval.errors import EvalError
from pipelines.comparison.comparing import compare_runs
from pipelines.comparison.page.page import page_of
from pipelines.ui import actions
from pipelines.ui.jobs import Jobs
from pipelines.ui.places import Places
from pipelines.ui.runs import all_runs, one_run

PAGE: Final = Path(__file__).parent / "page"
_FILES: Final = {"": "index.html", "ui.css": "ui.css", "ui.js": "ui.js"}
_HTTP: Final = 80
"""The port that an address need not name."""
_KINDS: Final = (".png", ".html", ".csv", ".json", ".toml")
"""Files of a run that the page shows."""
_UNFORESEEN: Final = (
    "this failed for no reason that is known; the terminal of erasure ui says where"
)
_LARGEST: Final = 65_536
"""Bytes of a request."""
_JOBS: Final = 50
"""Jobs that the page shows; it asks for them every second."""
_OWN: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_REPORT: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
)
"""A report is one file with its own script; in the sandbox it has no origin, so it can ask nothing
of this server."""


class Server(ThreadingHTTPServer):
    """Serves one page for one person."""

    daemon_threads = True

    def __init__(self, host: str, port: int, places: Places) -> None:
        super().__init__((host, port), _Handler)
        self.places = places
        self.jobs = Jobs(places.runs)
        self.token = secrets.token_urlsafe(24)
        self.reader = secrets.token_urlsafe(24)
        self.hosts = frozenset(hosts_of(host, str(self.server_address[0]), self.server_port))

    def server_bind(self) -> None:
        """Bind, and ask no DNS what the address is called: that may take long and is not used."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Say nothing of a page that was closed while it was answered."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """What to open; whoever has it may use the page."""
        host = str(self.server_address[0])
        return f"http://{host}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "erasure"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60
    """Seconds that a connection is waited for, which has a thread of its own all the while."""

    def do_GET(self) -> None:
        if {"Content-Length", "Transfer-Encoding"} & set(map(str.title, self.headers)):
            self.close_connection = True  # its body is not read, and would be the next request
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, handle: Any) -> None:  # noqa: ANN401
        path = self._allowed()
        if path is None:
            self.close_connection = True  # a body that is not read would be the next request
            self._send(HTTPStatus.NOT_FOUND, b"There is nothing here.\n", "text/plain")
            return
        try:
            handle(path)
        except ErasureError as err:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(err)})
        except ConnectionError:
            raise
        except OSError as err:  # a file that may not be read, or went meanwhile
            reason = err.strerror or type(err).__name__
            self._json(HTTPStatus.BAD_REQUEST, {"error": f"a file cannot be read: {reason}"})
        except Exception:
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": _UNFORESEEN})
            raise  # to the terminal

    def _allowed(self) -> str | None:
        """The path behind the token; None where the request is not the page's own."""
        if self.headers.get("Host", "") not in self.server.hosts:
            return None
        origin = self.headers.get("Origin")
        try:
            asker = None if origin is None else urlsplit(origin).netloc
            asked = urlsplit(self.path).path
        except ValueError:  # brackets around what is no address
            return None
        if asker is not None and asker not in self.server.hosts:
            return None
        token, _, path = asked.lstrip("/").partition("/")
        if not _alike(token, self.server.token) and not (
            _alike(token, self.server.reader) and self._only_reads(path)
        ):
            return None
        return unquote(path)

    def _only_reads(self, path: str) -> bool:
        """Whether this is a page that came out of files, or a picture. A script in such a page can
        see its own address, so that holds a token that opens nothing else."""
        return self.command == "GET" and path.startswith(("file/", "compare/"))

    def _get(self, path: str) -> None:
        first, _, rest = path.partition("/")
        if path in _FILES:
            file = PAGE / _FILES[path]
            self._send(HTTPStatus.OK, file.read_bytes(), _kind(file), policy=_OWN)
        elif path == "api/setup":
            setup = actions.setup(self.server.places)
            self._json(HTTPStatus.OK, {**setup, "reader": f"/{self.server.reader}"})
        elif path == "api/jobs":
            newest = list(self.server.jobs.all())[-_JOBS:]
            self._json(HTTPStatus.OK, {"jobs": [job.facts() for job in newest]})
        elif path == "api/runs":
            self._json(HTTPStatus.OK, {"runs": list(all_runs(self.server.places))})
        elif path.startswith("api/runs/"):
            self._json(HTTPStatus.OK, one_run(self.server.places, path.removeprefix("api/runs/")))
        elif first == "file":
            self._file(*rest.split("/", 1))
        elif first == "compare":
            self._compare(rest.split("/"))
        else:
            raise ConfigError("the page asked for something that is not there; reload it")

    def _post(self, path: str) -> None:
        values = self._body()
        kind, _, name = path.removeprefix("api/").partition("/")
        places, jobs = self.server.places, self.server.jobs
        if path == "api/line":
            self._json(HTTPStatus.OK, actions.line_of(places, values))
        elif path == "api/price":
            self._json(HTTPStatus.OK, actions.price(places, values))
        elif kind == "do" and name in actions.ACTIONS:
            self._json(HTTPStatus.OK, actions.ACTIONS[name](places, jobs, values).facts())
        elif kind == "stop":
            jobs.stop(name)
            self._json(HTTPStatus.OK, {})
        elif kind == "resume":
            self._json(HTTPStatus.OK, jobs.resume(name).facts())
        else:
            raise ConfigError("the page asked for something that cannot be done; reload it")

    def _body(self) -> dict[str, Any]:
        """The object that was sent.

        Raises:
            ConfigError: it is no JSON object, or too long.
        """
        length = self.headers.get("Content-Length", "")
        is_json = self.headers.get_content_type() == "application/json"
        in_one = "Transfer-Encoding" not in self.headers and re.fullmatch("[0-9]{1,9}", length)
        if not is_json or not in_one or int(length) > _LARGEST:
            self.close_connection = True  # what was not read would be taken for the next request
            raise ConfigError(f"a request must be JSON of at most {_LARGEST:,} bytes")
        try:
            values = json.loads(self.rfile.read(int(length)))
        except TimeoutError as err:
            self.close_connection = True
            raise ConfigError("the request was not sent to its end; send it again") from err
        except (ValueError, RecursionError) as err:
            raise ConfigError("the request is no JSON; reload the page") from err
        if not isinstance(values, dict):
            raise ConfigError("the request is no JSON object; reload the page")
        return values

    def _file(self, run: str, path: str = "") -> None:
        file = self.server.places.file(run, path)
        if file.suffix not in _KINDS:
            raise ConfigError(f"{file.name[:80]!r} is not a kind of file that the page shows")
        policy = _REPORT if file.suffix == ".html" else "default-src 'none'; sandbox"
        self._send(HTTPStatus.OK, file.read_bytes(), _kind(file), policy=policy)

    def _compare(self, names: Sequence[str]) -> None:
        """Runs side by side, on a page that is made for this request."""
        try:
            compared = compare_runs([self.server.places.run(name) for name in names])
        except EvalError as err:
            raise ConfigError(str(err)) from err
        content = page_of(compared).encode(errors="replace")
        self._send(HTTPStatus.OK, content, "text/html; charset=utf-8", policy=_REPORT)

    def _json(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        content = json.dumps(value, default=str).encode()  # escaped: half a pair has no bytes
        self._send(status, content, "application/json")

    def _send(
        self, status: HTTPStatus, content: bytes, kind: str, *, policy: str = "default-src 'none'"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        """Say nothing of a request: its address holds the token."""


def hosts_of(host: str, bound: str, port: int) -> Iterator[str]:
    """How a browser may name this server: as it was asked for, and by the address that is bound."""
    names = {host, bound}
    if ip_address(bound).is_loopback:
        names.add("localhost")
    for name in names:
        yield f"{name}:{port}"
        if port == _HTTP:
            yield name  # which browsers leave out


def _alike(token: str, own: str) -> bool:
    return hmac.compare_digest(token.encode(), own.encode())


def _kind(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "text/plain"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
