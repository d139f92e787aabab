"""What counts as a version on disk, and what counts as a change."""

from __future__ import annotations

import logging
import os

import pytest

from serving.manager.source import Source, fingerprint, version_number, versions


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("007", 7),
        ("1700000000", 1700000000),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1.0", None),
        ("1_0", None),
        ("v1", None),
        ("1.tmp", None),
        ("٣", None),
        ("²", None),
        ("", None),
    ],
)
def test_only_plain_integers_are_versions(name, number):
    assert version_number(name) == number


def test_files_and_other_names_are_no_versions_and_links_are(tmp_path):
    for folder in ("3", "004", "draft"):
        (tmp_path / folder).mkdir()
    (tmp_path / "5").write_text("a file")
    (tmp_path / "6").symlink_to(tmp_path / "draft")
    assert versions(tmp_path) == {3: tmp_path / "3", 4: tmp_path / "004", 6: tmp_path / "6"}


def test_a_missing_base_path_is_told_once_and_again_when_it_is_lost_again(tmp_path, caplog):
    source, base = Source(), tmp_path / "m"
    with caplog.at_level(logging.WARNING, "serving.manager"):
        for _ in range(3):
            assert source.versions("m", base) == {}
        (base / "1").mkdir(parents=True)
        assert source.versions("m", base) == {1: base / "1"}
        (base / "1").rmdir()
        base.rmdir()
        assert source.versions("m", base) == {}
    assert [r.message for r in caplog.records] == [
        f"Could not find base path {base} for servable m: No such file or directory. Waiting for one."
    ] * 2


def test_a_fingerprint_changes_with_any_file_and_not_without(tmp_path):
    (tmp_path / "variables").mkdir()
    file = tmp_path / "variables" / "data"
    file.write_bytes(b"12345678")
    os.utime(file, ns=(5, 5))
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    file.write_bytes(b"1234")
    os.utime(file, ns=(5, 5))
    cut = fingerprint(tmp_path)
    (tmp_path / "more").write_bytes(b"")
    assert len({first, cut, fingerprint(tmp_path), fingerprint(tmp_path / "none")}) == 4
