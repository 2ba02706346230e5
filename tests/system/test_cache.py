"""The cache folder, and the checksums that are remembered there."""

import hashlib

from tfinvert.system import cache


def test_a_changed_file_has_another_checksum(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"second", b"third."):
        path.write_bytes(content)
        for _ in range(2):  # computed, then remembered
            assert cache.remembered_sha256(path) == hashlib.sha256(content).hexdigest()


def test_a_damaged_memory_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    path.write_bytes(b"content")
    checksum = cache.remembered_sha256(path)
    (memory,) = (cache.cache_folder() / "checksums").iterdir()
    written = memory.read_text()
    for damage in ("{", "", written.replace(checksum, "0" * 64)):
        memory.write_text(damage)
        assert cache.remembered_sha256(path) == checksum
        assert memory.read_text() == written


def test_a_cache_that_cannot_be_made_is_replaced_with_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "file" / "other"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache.cache_folder()
    assert folder.is_dir()
    assert folder.parent == tmp_path
    assert "set TFINVERT_CACHE" in caplog.text
