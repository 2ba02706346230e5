"""What the viewer refuses: other machines' names, writing, paths outside of its folder, markup in texts."""

import os
import socket

import pytest

from tests.reports.viewer import writing
from tfinvert.reports.viewer import server
from tfinvert.reports.viewer.paths import inside, opened
from tfinvert.system.errors import InputError


def test_it_listens_on_this_machine_alone(viewer):
    assert viewer.address.startswith("http://127.0.0.1:")
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            socket.create_connection((address, viewer.port), timeout=2).close()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "",
        "[::1]",
        "0.0.0.0",
        "localhost.evil:1",
    ],
)
def test_other_names_of_the_machine_are_refused(viewer, host):
    for path in ("/", "/api/runs", "/events", "/static/main.js"):
        assert viewer.get(path, Host=host)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9000"])
def test_its_own_names_are_answered(viewer, host):
    assert viewer.get("/", Host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_only_reads(viewer, method):
    run = writing.whole(viewer.folder / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for path in ("/", "/api/runs", "/file/run/run.json"):
        assert viewer.get(path, method)[0] == 405
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.fixture
def secret(viewer):
    """A file beside the viewer's folder, and ways to it by links."""
    writing.whole(viewer.folder / "run")
    (viewer.folder.parent / "secret.txt").write_text("secret")
    (viewer.folder / "run" / ".hidden").write_text("secret")
    (viewer.folder / "run" / "link.txt").symlink_to(viewer.folder.parent / "secret.txt")
    (viewer.folder / "folder").symlink_to(viewer.folder.parent)
    (viewer.folder / "run" / "loop").symlink_to(viewer.folder / "run")
    os.mkfifo(viewer.folder / "run" / "pipe")
    return viewer


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../secret.txt",
            "run/../../secret.txt",
            "..%2fsecret.txt",
            "%2e%2e/secret.txt",
            "%2e%2e%2fsecret.txt",
            "run/..%5csecret.txt",
        ),
        *("%252e%252e/secret.txt", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "run/%00/run.json", "run/run.json%00.png"),
        *("run/link.txt", "folder/secret.txt", "run/loop/run.json", "run/.hidden", "run/.lock", "run/pipe", "run", "run/", ""),
        *(
            "./run/run.json",
            "run//run.json",
            "run/./run.json",
            "run/%ff",
            "run/" + "x" * 5000,
            "..;/secret.txt",
            "C:%5csecret.txt",
        ),
    ],
)
def test_no_path_leads_out_of_the_folder(secret, path):
    status, _, body = secret.get(f"/file/{path}")
    assert status == 404
    assert b"secret" not in body


def test_pages_of_runs_lead_nowhere_else_either(secret):
    for path in ("..", "%2e%2e", "folder", "folder%2fout%2frun", "run%2floop", "run/../run", "/", "%00"):
        assert secret.get(f"/api/run/{path}")[0] == 404
        assert secret.get(f"/api/layers/{path}")[0] == 404
    assert [run["name"] for run in secret.json("/api/runs")["runs"]] == ["run"]


def test_a_static_file_is_one_of_the_viewer_s_own(viewer):
    assert viewer.get("/static/main.js")[0] == 200
    for name in ("..%2fapp.py", "%2e%2e%2fapp.py", "../app.py", "nothing.js"):
        assert viewer.get(f"/static/{name}")[0] == 404


def test_files_that_are_there_come_as_they_are(secret):
    status, headers, body = secret.get("/file/run/final.png?v=1")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert body == (secret.folder / "run" / "final.png").read_bytes()
    assert secret.get("/file/run/run.json")[1]["content-type"] == "text/plain; charset=utf-8"
    (secret.folder / "run" / "decoder.keras").write_bytes(b"x")
    assert secret.get("/file/run/decoder.keras")[1]["content-disposition"] == "attachment"


def test_a_page_in_a_run_directory_has_an_origin_of_its_own(viewer):
    writing.whole(viewer.folder / "run")
    for name in ("report.html", "image.svg"):
        (viewer.folder / "run" / name).write_text("<script>fetch('/api/runs')</script>")
        headers = viewer.get(f"/file/run/{name}")[1]
        assert "sandbox" in headers["content-security-policy"]
        assert "allow-same-origin" not in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
    assert viewer.get("/file/run/image.svg")[1]["content-type"] == "application/octet-stream"


def test_every_answer_has_a_strict_policy(viewer):
    for path in ("/", "/run/x", "/layers/x", "/compare", "/api/runs", "/api/run/x", "/static/main.js", "/file/x", "/nowhere"):
        headers = viewer.get(path)[1]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe-inline" not in policy or path.startswith("/file")
        assert "unsafe-eval" not in policy
        assert "http:" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    for name in ("Host", "Origin"):  # no other site may read an answer
        assert "access-control-allow-origin" not in viewer.get("/api/runs", **{name: "localhost"})[1]


def test_names_below_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    assert inside(tmp_path, "a/b") == tmp_path / "a" / "b"
    assert inside(tmp_path, ".") == tmp_path
    with opened(tmp_path, "a/b") as file:
        assert file.read() == b"x"
    for name in ("a", ".", "..", "a/..", "a/c", "a/b/c", ""):
        assert opened(tmp_path, name) is None


def test_a_port_that_is_taken_is_said(viewer):
    with pytest.raises(InputError, match=rf"--port={viewer.port} cannot be used"), server.serving(viewer.folder, viewer.port):
        pass
