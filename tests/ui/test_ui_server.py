"""Who may ask the page's server, and what it gives away."""

import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.compared import copied, evaluate
from support.console import erasure
from support.refusals import assert_told

from pipelines.ui import actions
from pipelines.ui.server import Server

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
        ("church.evaluation/results.json", '{"summary": 5}'),
        (
            "church.evaluation/results.json",
            '{"summary": {"ua": NaN, "intervals": 1, "before": []}}',
        ),
        ("church.audit/audit.json", '{"attacks": 5}'),
        ("church.audit/audit.json", '{"attacks": [5, {"name": 1, "verdict": 2}]}'),
        ("church.drawings/1.json", '{"cells": "x"}'),
        ("church/loss.csv", "step,loss\n1,nan\n2,inf\n3,0.5\n"),
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
    assert "NaN" not in json.dumps(run)


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
    assert (status, "letters, digits" in refusal["error"]) == (400, True)
