"""Requests that no browser sends: each has an answer or an end, and nothing of one is the next."""

import shutil
import socket
from pathlib import Path

import pytest

from pipelines.ui import actions, runs
from pipelines.ui import server as server_module
from pipelines.ui.server import Server


def answered(server: Server, text: str) -> bytes:
    """All that comes back, until the server closes; half a minute is too long."""
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    sent = text.replace("HOST", host).replace("TOKEN", server.token).encode()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


NEXT = "GET /TOKEN/api/runs HTTP/1.1\r\nHOST\r\n"
JSON = "Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"GET /TOKEN/api/jobs HTTP/1.1\r\nHOSTContent-Length: {len(NEXT)}\r\n\r\n", b"200"),
        ("GET /TOKEN/api/jobs HTTP/1.1\r\nHOSTtransfer-encoding: chunked\r\n\r\n", b"200"),
        (
            f"POST /TOKEN/api/line HTTP/1.1\r\nHOST{JSON}Content-Length: 2\r\n"
            "Transfer-Encoding: chunked\r\n\r\n{}",
            b"400",
        ),
        (f"POST /TOKEN/api/line HTTP/1.1\r\nHOST{JSON}Content-Length: x\r\n\r\n", b"400"),
        ("POST /TOKEN/api/line HTTP/1.1\r\nHOSTContent-Length: 0\r\n\r\n", b"400"),
        ("PUT /TOKEN/api/line HTTP/1.1\r\nHOST\r\n", b"501"),
        ("GET /TOKEN/api/jobs HTTP/1.1\r\n\r\n", b"404"),
    ],
)
def test_what_was_not_read_of_a_request_is_not_the_next_one(
    server: Server, text: str, status: bytes
) -> None:
    answer = answered(server, text + NEXT)
    assert answer.split()[1] == status
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", b""),
        ("GET /TOKEN/api", b""),
        (f"POST /TOKEN/api/line HTTP/1.1\r\nHOST{JSON}Content-Length: 20\r\n\r\n{{", b"400"),
    ],
)
def test_who_sends_no_more_is_not_waited_for_without_end(
    server: Server, text: str, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.3)
    answer = answered(server, text)
    assert answer.split()[1:2] == ([status] if status else [])
    assert not status or b"not sent to its end" in answer


def test_what_fails_unforeseen_is_told_and_does_not_pass_for_a_server_that_has_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(places: object) -> dict[str, object]:
        raise KeyError("of ours")

    monkeypatch.setattr(actions, "setup", broken)
    answer = answered(server, "GET /TOKEN/api/setup HTTP/1.1\r\nHOST\r\n")
    assert answer.split()[1] == b"500"
    assert b"the terminal of erasure ui says where" in answer
    assert "of ours" in capsys.readouterr().err


def test_a_run_that_goes_while_it_is_listed_hides_no_other(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = server.places.runs
    shutil.copytree(folder / "church", folder / "going")
    is_run = runs._is_run

    def going(place: Path) -> bool:
        there = is_run(place)
        if place.name == "going":
            shutil.rmtree(place)
        return there

    monkeypatch.setattr(runs, "_is_run", going)
    names = [run["name"] for run in runs.all_runs(server.places)]
    assert names == ["church", "going"]
