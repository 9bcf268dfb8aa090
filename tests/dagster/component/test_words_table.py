"""The table of docs/dagster.md in which the project file's words stand beside Dagster's own: nothing is missing there."""

from __future__ import annotations

import re

from dagster.components import AssetAttributesModel
from dagster.components.resolved.core_models import OpSpec
from docs_blocks import ROOT

from mmmeta.project import JobConfig
from mmmeta.project.rules import FunctionRules
from mmmeta_dagster.assets.function_options import AssetOptions
from mmmeta_dagster.component.model import MetadirAttributes

NOT_DAGSTERS = {
    *("name", "where", "rerun_on", "once_per", "attempts", "backoff", "lease", "timeout", "on_delete", "batch_size"),
    *("workers", "limit", "order_by", "index", "fail_run_above"),
}
"""Keys of a job that mean the same without Dagster, for `mmmeta run`; what is new stands here or in the table."""

NOT_DAGSTERS_OF_METADIRS = {"name", "path", "files_root", "state", "sync", "jobs", "assets"}


def columns() -> list[set[str]]:
    """For each column of the table the words of what stands between backticks in it."""
    page = (ROOT / "docs" / "dagster.md").read_text(encoding="utf-8")
    _, _, below = page.partition("### In Dagster's own words")
    rows = [line.strip("|").split("|") for line in below.partition("\n\n`tags` and")[0].splitlines() if line[:1] == "|"]
    assert {len(row) for row in rows} == {4}
    return [
        set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", " ".join(cells)))))
        for cells in zip(*rows, strict=True)
    ]


def test_what_dagster_reads_of_the_project_file_is_there() -> None:
    """Keys of a metadir and of a job."""
    own = columns()[1]
    assert set(JobConfig.model_fields) - NOT_DAGSTERS - own == set()
    assert set(MetadirAttributes.model_fields) - NOT_DAGSTERS_OF_METADIRS - own == set()


def test_what_the_decorator_takes_is_there() -> None:
    """Options that a job of the project file has not."""
    options = set(AssetOptions.__annotations__) - set(FunctionRules.__annotations__)
    assert options - {"name", "where", "translator"} - columns()[1] == set()


def test_dagsters_words_are_there() -> None:
    """What `translation` and `op` can hold, and what a subclass may override."""
    _, _, words, python = columns()
    assert {*AssetAttributesModel.model_fields, *OpSpec.model().model_fields} - words == set()
    assert {"get_asset_spec", "get_op_spec", "execute"} <= python
