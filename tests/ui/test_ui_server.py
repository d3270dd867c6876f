"""Who may ask the page's server, and what it gives away."""

import http.client
import json
import os
import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from support.console import erasure
from support.refusals import assert_told
from support.results.compared import copied, evaluate

from erasure.errors import ConfigError
from pipelines.ui import actions
from pipelines.ui.jobs import Job, Jobs
from pipelines.ui.places import Places
from pipelines.ui.runs import known_base
from pipelines.ui.server import Server, hosts_of

FORM = {"model": "demo", "concepts": ["church"], "name": "next"}


def asked(
    server: Server,
    path: str,
    values: object = None,
    *,
    token: str | None = None,
    raw: bytes | None = None,
    **headers: str,
) -> tuple[int, Any]:
    """Status and content of an answer; a POST where there are values."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    body = json.dumps(values).encode() if raw is None and values is not None else raw
    header = {"Content-Type": "application/json"} if body is not None else {}
    header |= {name.replace("_", "-"): value for name, value in headers.items()}
    method = "GET" if body is None else "POST"
    address = f"/{server.token if token is None else token}/{path}"
    connection.request(method, address, body=body, headers=header)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    kind = answer.headers.get_content_type()
    return answer.status, json.loads(content) if kind == "application/json" else content


def test_the_page_and_its_runs_are_there_for_who_has_the_address(server: Server) -> None:
    status, page = asked(server, "")
    assert status == 200
    assert b"<title>erasure</title>" in page
    _, listed = asked(server, "api/runs")
    assert [run["name"] for run in listed["runs"]] == ["church"]
    _, run = asked(server, "api/runs/church")
    assert run["unselected_identical"] is True
    assert run["moved"] > 0
    assert run["cells"]
    assert len(run["losses"]) == 3
    status, picture = asked(server, "file/church/grid.png")
    assert (status, picture[:4]) == (200, b"\x89PNG")


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("wrong", {}),
        (None, {"Host": "evil.example"}),
        (None, {"Host": "127.0.0.1:1"}),
        (None, {"Origin": "http://evil.example"}),
        (None, {"Origin": "null"}),
        (None, {"Origin": "http://["}),
    ],
)
def test_who_lacks_the_token_or_comes_from_elsewhere_is_told_nothing(
    server: Server, token: str | None, headers: dict[str, str]
) -> None:
    for path, values in (("", None), ("api/runs", None), ("api/do/erase", FORM)):
        status, content = asked(server, path, values, token=token, **headers)
        assert status == 404
        assert content == b"There is nothing here.\n"
    assert not (server.places.runs / ".jobs").exists()


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PUT", "DELETE"])
def test_other_methods_than_get_and_post_are_none_of_the_page(server: Server, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    connection.request(method, f"/{server.token}/api/do/erase", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 501
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("path", ["", "ui.js", "api/runs", "file/church/grid.png", "no such"])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_no_answer_tells_the_address_on_or_can_be_read_or_framed_elsewhere(
    server: Server, path: str, token: str | None
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", f"/{token or server.token}/{path}".replace(" ", "%20"))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    headers = answer.headers
    assert headers["Referrer-Policy"] == "no-referrer"  # the address holds the token
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "file/church/../../secret.png",
        "file/church/..%2f..%2fsecret.png",
        "file/../secret.png",
        "file/%2e%2e/secret.png",
        "file/church//etc/hostname",
        "file/church/link.png",
        "file/church/model/unet/diffusion_pytorch_model.safetensors",
        "file/church/%00.png",
        "file/.jobs/x",
        "api/runs/..",
        "api/runs/elsewhere",
    ],
)
def test_no_path_leads_out_of_the_runs(server: Server, runs: Path, path: str) -> None:
    secret = runs.parent / "secret.png"
    secret.write_bytes(b"secret")
    (runs / "church" / "link.png").symlink_to(secret)
    (runs / "elsewhere").symlink_to(runs.parent)
    status, content = asked(server, path)
    assert status == 400
    assert "secret" not in json.dumps(content).replace("secret.png", "")


def test_a_page_in_a_run_cannot_ask_the_server(server: Server, runs: Path) -> None:
    (runs / "church" / "report.html").write_text("<script>fetch('/')</script>")
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", f"/{server.token}/file/church/report.html")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox allow-scripts;" in policy
    assert "default-src 'none'" in policy
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "/etc"}, "not demo"),
        ({"model": "../church"}, "not demo"),
        ({"name": "../out"}, "the name"),
        ({"name": ".jobs"}, "the name"),
        ({"name": "church"}, "already"),
        ({"method": "mine.py:Mine"}, "none of the methods"),
        ({"intent": "everything"}, "none of"),
        ({"density": "half"}, "density"),
        ({"steps": "-3"}, "steps"),
        ({"more": {"data.rows": "/etc/passwd"}}, "no setting"),
        ({"concepts": []}, "no concept"),
        ({"concepts": ["a\nb"]}, "200 letters"),
        ({"concepts": ["x" * 300]}, "200 letters"),
        ({"concepts": "church"}, "list"),
        ({"cache": "/tmp"}, "fields"),
    ],
)
def test_a_form_that_asks_for_more_than_the_page_offers_is_refused(
    server: Server, change: dict[str, object], words: str
) -> None:
    status, content = asked(server, "api/do/erase", {**FORM, **change})
    assert status == 400
    assert words in content["error"]
    assert not (server.places.runs / ".jobs").exists()


def test_a_concept_that_looks_like_an_option_stays_a_concept(server: Server) -> None:
    _, answer = asked(server, "api/line", {**FORM, "concepts": ["--force", "a dog"]})
    assert "--concept=--force" in answer["line"]
    assert "--force" not in answer["line"]


def test_a_recipe_goes_with_the_kind_of_concept(server: Server, tiny_folder: Path) -> None:
    model = str(tiny_folder)
    form = {**FORM, "model": model, "method": "esd", "intent": "style"}
    _, answer = asked(server, "api/line", form)
    assert answer["line"][:2] == ["erasure", "erase"]
    assert "esd-style" in answer["line"]


@pytest.mark.parametrize(
    "sent",
    [b"{", b"[]", b"[" * 50_000, b'{"a": "' + b"x" * 70_000 + b'"}'],
)
def test_a_body_that_is_no_small_object_is_refused(server: Server, sent: bytes) -> None:
    status, content = asked(server, "api/line", raw=sent)
    assert status == 400
    assert "JSON" in content["error"]


def test_a_form_of_another_page_is_refused_by_its_type(server: Server) -> None:
    status, content = asked(server, "api/line", raw=b"{}", Content_Type="text/plain")
    assert status == 400
    assert "JSON" in content["error"]


def test_a_damaged_record_is_shown_as_not_finished(server: Server, runs: Path) -> None:
    (runs / "church" / "erasure.json").write_text('{"edits": [{"concept": 3}]}')
    _, run = asked(server, "api/runs/church")
    assert run["concepts"] == []
    (runs / "church" / "erasure.json").write_text("[" * 50_000)
    _, listed = asked(server, "api/runs")
    assert listed["runs"][0]["finished"] is False


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("church/erasure.json", '{"verdict": [1], "grid": 5}'),
        ("church/erasure.json", '{"verdict": null, "grid": {"cells": 5}, "moved": NaN}'),
        ("church/erasure.json", '{"verdict": {"sentence": "\\ud800"}}'),
        ("church/erasure.json", '{"unselected_identical": 1e999}'),
        ("church.evaluation/results.json", '{"summary": 5}'),
        (
            "church.evaluation/results.json",
            '{"summary": {"ua": NaN, "intervals": 1, "before": []}}',
        ),
        ("church.audit/audit.json", '{"attacks": 5}'),
        ("church.audit/audit.json", '{"attacks": [5, {"name": 1, "verdict": 2}]}'),
        ("church.drawings/1.json", '{"cells": "x"}'),
        ("church/loss.csv", "step,loss\n1,nan\n2,inf\n3,0.5\n"),
        ("church/loss.csv", "step,loss\n1," + "9" * 200_000 + "\n"),
        ("church/recipe.toml", "model = 5"),
    ],
)
def test_a_damaged_file_of_one_run_hides_neither_it_nor_the_others(
    server: Server, runs: Path, file: str, content: str
) -> None:
    (runs / file).parent.mkdir(exist_ok=True)
    (runs / file).write_text(content)
    status, listed = asked(server, "api/runs")
    assert (status, [run["name"] for run in listed["runs"]]) == (200, ["church"])
    status, run = asked(server, "api/runs/church")
    assert (status, run["name"]) == (200, "church")
    assert not {"NaN", "Infinity"} & set(re.findall("[A-Za-z]+", json.dumps([listed, run])))


def test_a_folder_that_may_not_be_entered_hides_no_other(
    server: Server, runs: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "lost+found").mkdir()
    stat = os.stat

    def refusing(path: Any, **more: Any) -> os.stat_result:  # noqa: ANN401
        if "lost+found/" in os.fspath(path):  # as for who is not root, at the top of a disk
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", refusing)
    status, setup = asked(server, "api/setup")
    assert (status, str(tiny_folder) in setup["models"]) == (200, True)
    status, listed = asked(server, "api/runs")
    assert (status, [run["name"] for run in listed["runs"]]) == (200, ["church"])


def test_a_price_that_cannot_be_counted_is_told_in_a_sentence(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*line: object, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], -9, "", "")

    def slow(*line: object, **more: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired("erasure", 300)

    for run, words in ((killed, "it ended with -9"), (slow, "within 300 seconds")):
        monkeypatch.setattr(actions.subprocess, "run", run)
        status, content = asked(server, "api/price", FORM)
        assert (status, words in content["error"]) == (400, True)


def test_a_page_over_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    assert_told(erasure("ui", "--runs", tmp_path / "runs", "--no-browser"), 2, "is a file; give")
    assert_told(erasure("ui", "--runs", tmp_path / "runs" / "x", "--no-browser"), 1, "cannot write")


def test_runs_are_compared_on_a_page_that_may_ask_nothing_of_the_server(
    server: Server, runs: Path
) -> None:
    copied(runs / "church", runs / "other")
    evaluate(runs / "church", runs / "church.evaluation")
    status, page = asked(server, "compare/church/other")
    assert status == 200
    assert b"data-runs" in page
    assert b"has no evaluation" in page
    status, refusal = asked(server, "compare/church")
    assert (status, "two or more" in refusal["error"]) == (400, True)
    status, refusal = asked(server, "compare/church/..%2Fmodel")
    assert (status, "there is no run" in refusal["error"]) == (400, True)


def test_what_follows_a_refused_request_is_no_request(server: Server) -> None:
    body = json.dumps(FORM).encode()
    hidden = (
        f"POST /{server.token}/api/do/erase HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    outer = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
        f"Origin: http://evil.example\r\nContent-Length: {len(hidden)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(outer + hidden)
        answers = b""
        try:
            while part := connection.recv(65_536):
                answers += part
        except ConnectionResetError:  # closed with the hidden one unread
            pass
    assert answers.count(b"HTTP/1.1") <= 1
    assert not (server.places.runs / ".jobs").exists()


def test_a_page_from_a_file_has_an_address_that_opens_nothing_else(
    server: Server, runs: Path
) -> None:
    (runs / "church" / "report.html").write_text("<script>parent</script>")
    _, setup = asked(server, "api/setup")
    reader = setup["reader"].strip("/")
    assert reader != server.token
    assert asked(server, "file/church/report.html", token=reader)[0] == 200
    assert asked(server, "compare/church", token=reader)[0] == 400  # it wants two
    for path, values in (
        *((path, None) for path in ("", "ui.js", "api/runs", "api/setup", "api/jobs")),
        *((path, FORM) for path in ("api/do/erase", "api/line", "file/x", "compare/x")),
    ):
        assert asked(server, path, values, token=reader)[0] == 404, path
    assert not (runs / ".jobs").exists()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1"])
def test_the_address_that_is_printed_opens_the_page(runs: Path, host: str) -> None:
    server = Server(host, 0, Places(runs))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with urlopen(server.address, timeout=30) as answer:
            assert answer.status == 200
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_address_that_is_none_is_refused_and_not_a_traceback(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    head = f"GET http://[/ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 404"
    assert capfd.readouterr().err == ""


def test_on_the_port_of_the_web_the_address_needs_none() -> None:
    assert set(hosts_of("box", "10.0.0.5", 80)) == {"box:80", "box", "10.0.0.5:80", "10.0.0.5"}
    assert set(hosts_of("box", "10.0.0.5", 81)) == {"box:81", "10.0.0.5:81"}


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "0.0"])
def test_a_page_on_all_addresses_is_refused(tmp_path: Path, host: str) -> None:
    line = ("ui", "--runs", tmp_path, "--no-browser", "--host", host)
    assert_told(erasure(*line), 2, "cannot listen on all addresses; give --host")


@pytest.mark.parametrize("seed", ["\u00b2", "\u0663", "-1", "1" * 10])
def test_a_seed_that_is_no_number_is_refused_before_a_job(server: Server, seed: str) -> None:
    values = {"run": "church", "prompt": "a church", "seed": seed}
    status, content = asked(server, "api/do/draw", values)
    assert (status, "nine digits" in content["error"]) == (400, True)
    assert not (server.places.runs / ".jobs").exists()


def test_a_length_that_is_no_number_is_refused(server: Server) -> None:
    head = (
        f"POST /{server.token}/api/line HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
        "Content-Type: application/json\r\nContent-Length: \u00b2\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(head.encode("latin-1"))
        assert connection.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(
    ("button", "values", "name"),
    [
        ("export", {"to": "file", "dtype": "fp16"}, "church.safetensors"),
        ("export", {"to": "folder", "dtype": ""}, "church-diffusers"),
        ("export", {"to": "patch", "dtype": ""}, "church.patch"),
        ("undo", {}, "church.patch"),
        ("undo", {}, "church-undone"),
    ],
)
def test_only_what_the_page_wrote_is_replaced(
    server: Server,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    button: str,
    values: dict[str, str],
    name: str,
) -> None:
    lines: list[tuple[str, ...]] = []

    def start(jobs: Jobs, title: str, commands: list[list[str]], run: str) -> Job:
        lines.extend(map(tuple, commands))
        return Job(runs / ".jobs" / "x", title, tuple(map(tuple, commands)), run)

    monkeypatch.setattr(Jobs, "start", start)
    monkeypatch.setattr(Jobs, "lines", lambda jobs: iter(lines))
    (runs / name).write_bytes(b"a model of the user's own")
    status, content = asked(server, f"api/do/{button}", {"run": "church", **values})
    assert (status, f"{name!r} already" in content["error"]) == (400, True)
    assert lines == []
    (runs / name).unlink()
    assert asked(server, f"api/do/{button}", {"run": "church", **values})[0] == 200
    assert "--force" not in lines[-1]
    # The first may still wait for its turn: what it is to write is not there, but will be.
    assert asked(server, f"api/do/{button}", {"run": "church", **values})[0] == 200
    assert "--force" in lines[-1]
    (runs / name).write_bytes(b"what the page wrote")
    assert asked(server, f"api/do/{button}", {"run": "church", **values})[0] == 200
    replacing = ("--out", str(runs / name), "--force")
    assert any(replacing == line[n : n + 3] for line in lines for n in range(len(line)))


def test_a_run_is_not_called_as_what_is_written_beside_one(server: Server) -> None:
    status, content = asked(server, "api/do/erase", {**FORM, "name": "church.audit"})
    assert (status, "leave out its .audit" in content["error"]) == (400, True)


def test_a_base_that_was_typed_as_a_path_is_the_models_of_the_page(
    server: Server, runs: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    (runs / "church" / "recipe.toml").write_text(f'model = "{tiny_folder.name}"\n')
    assert known_base(server.places, "church") == str(tiny_folder.resolve())
    monkeypatch.setenv("HOME", str(tiny_folder.parent))
    (runs / "church" / "recipe.toml").write_text(f'model = "~/{tiny_folder.name}"\n')
    assert known_base(server.places, "church") == str(tiny_folder.resolve())
    (runs / "church" / "recipe.toml").write_text('model = "/etc"\n')
    with pytest.raises(ConfigError, match="--models FOLDER"):
        known_base(server.places, "church")
