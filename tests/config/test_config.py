"""config.yml: what it may say, and one clear error for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mmmeta.config.model import Config, load_config
from mmmeta.errors import ConfigError, InvalidFileError, MmmetaError

FULL = """\
metadata:
  unique: foreign_id
  content: content_hash
  file_name: name
  required: [title, publisher]
  include: [title, publisher, "headers"]
  exclude:
    - headers:date
remote:
  url: https://example.org/{_file_name}
  thumbnail: "https://example.org/t/{publisher:id}.png"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def load(file: Path, text: str) -> Config:
    file.write_text(text)
    return load_config(file)


def failure(file: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(file, text)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    return caught.value


def test_without_a_file_the_defaults_hold(file: Path) -> None:
    """All keys are kept, content_hash identifies files."""
    config = load_config(file)
    assert config == Config()
    assert config.metadata.unique == "content_hash"
    assert config.metadata.content == "content_hash"
    assert config.metadata.file_name == "_file_name"
    assert config.metadata.required == ()
    assert config.metadata.include is None
    assert config.metadata.exclude == ()
    assert config.remote == {}


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing\n", "---\n", "{}", "metadata:\nremote:\n", "\ufeffmetadata: {}\n"]
)
def test_an_empty_file_means_the_defaults(file: Path, text: str) -> None:
    """Also with empty sections, a comment, or a byte order mark."""
    assert load(file, text) == Config()


def test_everything_that_it_may_say(file: Path) -> None:
    """As in the manual."""
    config = load(file, FULL)
    assert config.metadata.unique == "foreign_id"
    assert config.metadata.file_name == "name"
    assert config.metadata.required == ("title", "publisher")
    assert config.metadata.include == ("title", "publisher", "headers")
    assert config.metadata.exclude == ("headers:date",)
    assert config.remote["thumbnail"] == "https://example.org/t/{publisher:id}.png"


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        ("metadata:\n  uniqe: x\n", 2, "metadata.uniqe", "Did you mean 'unique'?"),
        ("metadta: {}\n", 1, "metadta", "Did you mean 'metadata'?"),
        ("\n\nzzz: 1\n", 3, "zzz", "There are metadata, dates, ignore, remote."),
        ("metadata:\n  exclude: headers\n", 2, "metadata.exclude", "needs a list"),
        ("metadata:\n  required:\n    - a\n    - 5\n", 4, "metadata.required[1]", "needs text"),
        ("metadata:\n  unique: ''\n", 2, "metadata.unique", "cannot be empty"),
        ("metadata:\n  unique: __rev\n", 2, "metadata.unique", "two underscores"),
        ("metadata:\n  unique: null\n", 2, "metadata.unique", "needs text"),
        ("metadata: 5\n", 1, "metadata", "needs keys"),
        ("remote: [a]\n", 1, "remote", "needs keys"),
        ("remote:\n  url: https://x.org/{a\n", 2, "remote.url", "no partner"),
        ("remote:\n  url: https://{host}/\n", 2, "remote.url", "scheme or host"),
        ("remote:\n  url: https://x.org/{a|..}/b\n", 2, "remote.url", "climbs"),
        ("remote:\n  url: ''\n", 2, "remote.url", "is empty"),
        ("remote:\n  url:\n", 2, "remote.url", "needs text"),
        ("remote:\n  a b: https://x.org/\n", 2, 'remote["a b"]', "cannot be read as"),
        ("remote:\n  _get: https://x.org/\n", 2, "remote._get", "cannot be read as"),
        ("remote:\n  url: a\n  url: b\n", 3, "remote.url", "line 2 already"),
        ("metadata:\n  unique: a\n remote: x\n", 3, None, "not valid YAML"),
        ("metadata: {unique: a\n", 2, None, "not valid YAML"),
        ("a\n", 1, None, "needs keys at its top"),
        ("- a\n", 1, None, "needs keys at its top"),
        ("metadata: {}\n---\nremote: {}\n", 2, None, "not valid YAML"),
        ("metadata: !!python/object/apply:os.system [x]\n", 1, "metadata", "not supported here"),
        ("metadata:\n  unique: !secret x\n", 2, "metadata.unique", "not supported here"),
        ("metadata:\n  unique: *unknown\n", 2, None, "undefined alias"),
        ("metadata: &a [*a]\n", 1, "metadata[0]", "contains itself"),
        ("metadata: &a {<<: *a}\n", 1, "metadata", "contains itself"),
        ("metadata:\n  unique: a\x01b\n", 2, None, "YAML does not allow"),
    ],
)
def test_what_it_may_not_say(file: Path, text: str, line: int, key: str | None, reason: str) -> None:
    """File, line, key, reason, and the near miss."""
    error = failure(file, text)
    assert (line, key) == (error.line, error.key)
    assert reason in error.reason
    assert str(error).startswith(f"{file}:{line}: ")


def test_all_problems_of_a_file_are_told(file: Path) -> None:
    """A line each, in the order of the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConfigError) as caught:
        load(file, "metadata:\n  unique: ''\n  exclude: 5\nremotes: {}\n")
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{file}:2", f"{file}:3", f"{file}:4"]
    assert "Did you mean 'remote'?" in lines[2]


def test_a_file_that_is_no_text(file: Path) -> None:
    """The line of the first bad byte."""
    file.write_bytes(b"metadata:\n  unique: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        load_config(file)
    assert caught.value.line == 2


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    """Not taken for a missing file."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(10)),
        "a: &a {x: 1, y: 2}\n"
        + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join([f'*{chr(97 + i)}'] * 10)}]}}\n" for i in range(10)
        ),
    ],
    ids=["aliases", "merges"],
)
def test_a_few_aliases_cannot_mean_billions_of_values(file: Path, bomb: str) -> None:
    """config.yml comes from the remote; it must not take the client down."""
    assert "more than 100,000 values" in failure(file, bomb).reason


def test_deep_nesting_is_an_error(file: Path) -> None:
    """Not a RecursionError."""
    assert "nested too deeply" in failure(file, "a: " + "[" * 20_000).reason


def test_the_fingerprint_follows_what_is_kept(file: Path) -> None:
    """It changes with each rule about metadata, and with nothing else."""
    base = load(file, FULL).fingerprint()
    assert base == load(file, FULL).fingerprint()
    changes = [("foreign_id", "other"), ("[title, publisher]", "[title]"), ('"headers"]', '"header"]')]
    changes += [
        ("headers:date", "headers:age"),
        ("file_name: name", "file_name: x"),
        ("content: content_hash", "content: x"),
    ]
    prints = {load(file, FULL.replace(*change)).fingerprint() for change in changes}
    assert len(prints) == len(changes)
    assert base not in prints
    assert base == load(file, FULL.replace("[title, publisher]", "[publisher, title, title]")).fingerprint()
    assert base == load(file, FULL.replace("example.org", "example.com")).fingerprint()
    assert Config().fingerprint() != load(file, "metadata: {include: []}").fingerprint()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("''", "empty"),
        ("' '", "empty"),
        ("'#recycle'", "comment"),
        ("'a\\nb'".replace("'", '"'), "one pattern an entry"),
        ("./drafts", "matches nothing"),
        ("../drafts", "matches nothing"),
        ("'!a/./b'", "matches nothing"),
        ("a//b", "matches nothing"),
        ("'!'", "no pattern"),
        ("/", "no pattern"),
        ("'[ab'", "no pattern"),
        ("'[z-a]'", "no pattern"),
        ("'[[:alpha:]]'", "no pattern"),
        (r"'drafts\'", "no pattern"),
        (r"'drafts\old'", "divided by /"),
        ("2024", "Quote it"),
        ("[a]", "needs text"),
    ],
)
def test_patterns_that_mean_nothing_are_told(file: Path, pattern: str, reason: str) -> None:
    """With file, line, key and what to write; the next one is looked at, too."""
    error = failure(file, f"ignore:\n  - drafts/\n  - {pattern}\n")
    assert (error.line, error.key) == (3, "ignore[1]")
    assert reason in str(error)


@pytest.mark.parametrize("entry", ["- *.part", "- !*.part", "[*.part]"])
def test_a_pattern_that_yaml_reads_in_another_way_has_to_be_quoted(file: Path, entry: str) -> None:
    """Both signs have a meaning there."""
    error = failure(file, f"ignore:\n  {entry}\n")
    assert error.line == 2
    assert "quote" in str(error).lower()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("%d.%m.", "one year"),
        ("%Y", "tells no day"),
        ("%m/%Y", "tells no day"),
        ("%d.%m.%q", "is not read"),
        ("%d.%m.%Y %", "is not read"),
        ("%-d.%m.%Y", "hyphen"),
        ("%d.%m.%Y %Z", "%z reads offsets"),
        ("%x", "each machine"),
        ("%d.%d.%m.%Y", "twice"),
        ("%d.%m.%y %Y", "one year"),
        ("%d.%m.%Y %I:%M", "go together"),
        ("%d.%m.%Y :%M", "no hour"),
        ("%Y-%d-%m", "another way than ISO"),
        ("DD.MM.YYYY", "one year"),
        ("%G-W%V", "tells no day"),
        ("%Y-W%V-%u", "go together"),
        ("%G-%m-%d", "go together"),
        ("%d.%m.%Y week %V", "go together"),
        ("''", "one year"),
    ],
)
def test_formats_that_tell_no_day_are_told(file: Path, text: str, reason: str) -> None:
    """With file, line, key and what to write."""
    text = text if text == "''" else f'"{text}"'
    error = failure(file, f"dates:\n  published:\n    - '%d.%m.%Y'\n    - {text}\n")
    assert (error.line, error.key) == (4, "dates.published[1]")
    assert reason in str(error)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("dates: ['%d.%m.%Y']", "dates"),
        ("dates: {a: '%d.%m.%Y'}", "dates.a"),
        ("dates: {a: []}", "dates.a"),
        ("dates: {a: }", "dates.a"),
        ("dates: {a: [1]}", "dates.a[0]"),
        ("dates: {content_hash: ['%d.%m.%Y']}", "dates.content_hash"),
        ("dates: {__a: ['%d.%m.%Y']}", "dates.__a"),
    ],
)
def test_dates_are_keys_with_lists_of_formats(file: Path, text: str, key: str) -> None:
    """The unique key stays as it is."""
    assert failure(file, text).key == key
    assert load(file, "dates:\n").dates == {}
    assert load(file, "dates: {a: ['%d.%m.%Y']}").fingerprint() != Config().fingerprint()


def test_lines_are_read_in_another_way(file: Path) -> None:
    """So everything is read again."""
    assert load(file, "metadata: {lines: true}").fingerprint() != Config().fingerprint()
    assert load(file, "metadata: {lines: false}").fingerprint() == Config().fingerprint()
    assert "true or false" in str(failure(file, "metadata: {lines: [1]}"))


def test_patterns_are_a_list(file: Path) -> None:
    """Or nothing."""
    assert load(file, "ignore:\n").ignore == ()
    assert load(file, "ignore: ['*.bak', '!._*']").ignore == ("*.bak", "!._*")
    assert "needs a list" in str(failure(file, "ignore: '*.bak'"))
    assert load(file, "ignore: ['*.bak']").fingerprint() == Config().fingerprint()


def test_a_config_does_not_change() -> None:
    """It is handed to many."""
    with pytest.raises(ValidationError):
        Config().metadata.unique = "x"  # type: ignore[misc]


def test_config_errors_are_errors_of_mmmeta() -> None:
    """One base class for all files that people write."""
    assert issubclass(ConfigError, InvalidFileError)
    assert issubclass(ConfigError, MmmetaError)


@pytest.mark.parametrize(
    ("rules", "index", "words"),
    [
        ("{exclude: [noise, content_hash]}", 1, "'content_hash' is the unique key"),
        ("{unique: 'ids:foreign', exclude: [ids]}", 0, "it covers 'ids:foreign', which is the unique key"),
        ("{required: [a, title], exclude: [title]}", 0, "'title' is required"),
        ("{required: ['publisher:id'], exclude: [publisher]}", 0, "it covers 'publisher:id', which is required"),
    ],
)
def test_a_key_that_has_to_be_there_cannot_be_excluded(file: Path, rules: str, index: int, words: str) -> None:
    """It contradicts itself, and is said before files are set aside; what is nested below a required key can be."""
    problem = failure(file, f"metadata: {rules}\n")
    assert problem.key == f"metadata.exclude[{index}]"
    assert words in problem.reason
    assert load(file, "metadata: {required: [headers], exclude: ['headers:date', content_hashes]}\n")
