import pytest

from modules.errors import ConfigError, DataError
from modules.ingest.sources import fingerprint, resolve
from tests.modules.ingest.tables import make_dataset


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(source):
    return [file.name for file in source.files]


def test_patterns_are_read_in_their_order_and_files_once(tmp_path):
    here = tmp_path / "here"
    touch(here, "b.csv", "a1.csv", "a2.csv")
    source = resolve(make_dataset(here / "b.csv", here / "a*.csv", f"{here}/../*/b.csv"))
    assert names(source) == ["b.csv", "a1.csv", "a2.csv"] and source.span is None


def test_the_newest_span_is_read_unless_another_is_chosen(tmp_path):
    touch(tmp_path, "span-2/x.csv", "span-10/x.csv", "span-10/y.csv", "span-9/x.csv", "span-old/x.csv")
    dataset = make_dataset(tmp_path / "span-{SPAN}/*.csv")
    assert names(resolve(dataset)) == ["span-10/x.csv", "span-10/y.csv"] and resolve(dataset).span == 10
    assert names(resolve(dataset, span=2)) == ["span-2/x.csv"]
    assert names(resolve(dataset, span=9, last_spans=5)) == ["span-2/x.csv", "span-9/x.csv"]
    with pytest.raises(DataError, match="there is no span 3"):
        resolve(dataset, span=3)


def test_a_width_and_the_newest_version_are_honoured(tmp_path):
    touch(tmp_path, "07-v1.csv", "07-v3.csv", "007-v9.csv", "06-v1.csv")
    assert names(resolve(make_dataset(tmp_path / "{SPAN:2}-v{VERSION}.csv"))) == ["07-v3.csv"]


def test_a_date_is_a_span(tmp_path):
    touch(tmp_path, "1970-01-02.csv", "1970-02-01.csv", "1970-13-01.csv")
    source = resolve(make_dataset(tmp_path / "{YYYY}-{MM}-{DD}.csv"))
    assert names(source) == ["1970-02-01.csv"] and source.span == 31


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    touch(tmp_path, "a/x.csv", "b/x.csv", "b/y.csv")
    source = resolve(make_dataset(tmp_path / "a/x.csv", tmp_path / "b/x.csv", tmp_path / "b/y.csv"))
    assert names(source) == ["a/x.csv", "b/x.csv", "y.csv"]


def test_a_missing_file_is_named_with_its_neighbour(tmp_path):
    touch(tmp_path, "leads.csv")
    with pytest.raises(DataError, match=r"there is no file .*lead\.csv") as caught:
        resolve(make_dataset(tmp_path / "lead.csv"))
    assert "leads.csv" in caught.value.details[0]
    with pytest.raises(DataError, match=r"no file matches .*\*\.txt"):
        resolve(make_dataset(tmp_path / "*.txt"))
    with pytest.raises(DataError, match="is a folder"):
        resolve(make_dataset(tmp_path))


def test_a_span_needs_a_placeholder(tmp_path):
    touch(tmp_path, "a.csv")
    with pytest.raises(ConfigError, match=r"no path in `files` holds \{SPAN\}"):
        resolve(make_dataset(tmp_path / "a.csv"), span=1)
    with pytest.raises(ConfigError, match=r"expected \{SPAN\} once"):
        resolve(make_dataset(tmp_path / "{SPAN}/{SPAN}.csv"))


def test_the_fingerprint_depends_on_contents_and_names_but_not_on_the_place(tmp_path):
    touch(tmp_path, "here/a.csv")
    (tmp_path / "there").mkdir()
    copy = tmp_path / "there" / "a.csv"
    copy.write_text("here/a.csv")
    first = fingerprint(resolve(make_dataset(tmp_path / "here/a.csv")))
    assert fingerprint(resolve(make_dataset(copy))) == first and len(first) == 16
    copy.write_text("here/b.csv")
    assert fingerprint(resolve(make_dataset(copy))) != first
