"""What ``init`` writes is valid, whatever the keys and values of the metadata are."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from beginnings import put, start
from hypothesis import given
from hypothesis import strategies as st

from mmmeta.config.model import load_config
from mmmeta.init.texts import scalar
from mmmeta.project import load_project

KEYS = st.one_of(
    st.sampled_from(
        ["id", "yes", "null", "1", "1.5", "$any", "$x", "a: b", "#", "- a", "{a}", "a|b", "'", '"', "\\", "date"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)

VALUES = st.one_of(
    st.sampled_from(["31.12.2020", "20201231", "01/02/2020", "a", "b", "https://example.org/x", "yes", "{{ env.X }}"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)


@given(records=st.lists(st.dictionaries(KEYS, VALUES, max_size=6), min_size=1, max_size=6), beside=st.booleans())
def test_what_is_written_is_valid_whatever_the_keys_are_called(records: list[dict[str, Any]], beside: bool) -> None:
    """Each filter that is proposed in a comment, too."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'ü: #"docs"'
        for number, record in enumerate(records):
            put(root, f"{number}.json", record)
            if beside:
                put(root, f"{number}.pdf", str(number))
        beginning = start(root)
        config = load_config(root / "_mmmeta" / "config.yml")
        assert config.metadata.unique == beginning.proposal.unique
        project = root / "mmmeta.yaml"
        for line in re.findall(r"# (where: .*)", project.read_text()):
            other = project.with_name("other.yaml")
            other.write_text(project.read_text().replace("where: {}", line, 1))
            load_project(other)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_text_in_yaml_is_read_as_itself(text: str) -> None:
    """In one line, whatever is in it."""
    assert "\n" not in scalar(text)
    assert yaml.safe_load(f"{{{scalar(text)}: 1}}") == {text: 1}


@pytest.mark.parametrize("key", ["id ", " id", "", "\u2003id", "__id"])
def test_no_key_is_proposed_that_config_cannot_name(tmp_path: Path, key: str) -> None:
    """Neither to identify files by nor to find documents by."""
    for number in range(3):
        put(tmp_path, f"{number}.json", {key: f"{number}", "title": "same"})
        put(tmp_path, f"named {number}.json", {key: f"document {number}.pdf", "title": "same"})
        put(tmp_path, f"document {number}.pdf", b"%d" % number)
    beginning = start(tmp_path)
    assert beginning.proposal.unique != key
    assert beginning.folder.file_name != key
    assert load_config(tmp_path / "_mmmeta" / "config.yml")
