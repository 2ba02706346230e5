"""The viewer on a folder of its own, in this process, and a browser."""

import http.client
import json
from urllib.parse import quote

import pytest

from tests.conftest import run_chromium
from tfinvert.reports.viewer import server


class Viewer:
    """A viewer that is running: `get` asks it as a browser would, or as one that means harm."""

    def __init__(self, folder, address):
        self.folder, self.address = folder, address
        self.port = int(address.rstrip("/").rpartition(":")[2])

    def get(self, path, method="GET", **headers):
        """Status, headers and body of an answer. The path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path):
        """What an address of the viewer's answers, as JSON."""
        status, _, body = self.get(path)
        assert status == 200, body[:200]
        return json.loads(body)

    def run(self, name):
        return self.json(f"/api/run/{quote(name)}")


@pytest.fixture
def viewer(tmp_path):
    """A viewer of an empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    with server.serving(folder) as address:
        yield Viewer(folder, address)


@pytest.fixture
def browser(chromium):
    """Headless Chromium on an empty page, with empty logs."""
    chromium.get("about:blank")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    return chromium


@pytest.fixture(scope="module")
def chromium():
    yield from run_chromium()
