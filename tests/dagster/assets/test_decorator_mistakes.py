"""What ``@mmmeta_asset`` refuses when it is written, so that it does not fail in each run."""

from __future__ import annotations

import functools
from typing import Any

import dagster as dg
import pytest
from small_archive import Archive

from mmmeta import File
from mmmeta.errors import JobError
from mmmeta.project import RESERVED_JOBS, MetadirConfig
from mmmeta_dagster import UnboundAsset, build_definitions, build_import_job, build_metadir_assets, mmmeta_asset


class Shelf(dg.ConfigurableResource[Any]):
    """A resource of a person's own."""

    name: str = "top"


@pytest.mark.parametrize("name", RESERVED_JOBS)
@pytest.mark.parametrize("bound", [True, False])
def test_names_of_mmmeta_s_own(archive: Archive, name: str, bound: bool) -> None:
    """The Dagster job of that name would do something else."""
    decorate: Any = mmmeta_asset(metadir=archive.config if bound else None, name=name)
    with pytest.raises(JobError, match=f"the name '{name}' is taken by mmmeta itself"):
        decorate(lambda file: None)


def test_two_jobs_that_dagster_would_call_the_same(archive: Archive) -> None:
    """In one metadir, and across two."""

    def read(file: File) -> None:
        pass

    one, two = mmmeta_asset(metadir=archive.config)(read), mmmeta_asset(metadir=archive.config)(read)
    with pytest.raises(JobError, match="metadir 'archive' has two jobs of this name"):
        build_definitions(metadirs={"archive": archive.config}, assets=[one, two])
    other = MetadirConfig(name="archive_import", path=archive.root / "other")
    clash = mmmeta_asset(metadir=archive.config, name="import_update")(read)
    with pytest.raises(JobError, match="would both be archive_import_update in Dagster"):
        build_definitions(metadirs={"archive": archive.config, "archive_import": other}, assets=[clash])


def test_parameters_that_nobody_can_fill(archive: Archive) -> None:
    """They would be inputs of the Dagster step, which no run has."""

    def upstream(file: File, number: int) -> None: ...

    def untyped(file: File, shelf) -> None: ...  # type: ignore[no-untyped-def]

    def positional(file: File, /) -> None: ...

    for function, reason in (
        (upstream, "nobody can give upstream its parameter 'number', which is no resource"),
        (untyped, "nobody can give untyped its parameter 'shelf'"),
        (positional, "file of positional is given by name"),
    ):
        for metadir in (archive.config, None):
            with pytest.raises(JobError, match=reason):
                mmmeta_asset(metadir=metadir)(function)  # type: ignore[call-overload]


def test_parameters_with_a_default_keep_it(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Resources are filled nevertheless, also bare ones."""
    seen: list[object] = []

    @mmmeta_asset(metadir=archive.config, where={"document_type": "letter"})
    def read(file: File, shelf: Shelf, bare: dg.ResourceParam[str], number: int = 3, *more: Any, **others: Any) -> None:
        seen.append((shelf.name, bare, number, more, others))

    definitions = build_definitions(
        metadirs={"archive": archive.config}, assets=[read], resources={"shelf": Shelf(), "bare": "plain"}
    )
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert seen == [("top", "plain", 3, (), {})] * 2


def test_what_is_no_function(archive: Archive) -> None:
    def read(file: File, more: str) -> None: ...

    class Reader:
        def __call__(self, file: File) -> None: ...

    for odd in (functools.partial(read, more="x"), Reader(), 5):
        with pytest.raises(JobError, match="must be an ordinary function"):
            mmmeta_asset(metadir=archive.config)(odd)  # type: ignore[arg-type]


def test_an_annotation_that_cannot_be_read(archive: Archive) -> None:
    def read(file: File, shelf: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(JobError, match="annotation of read cannot be read: name 'Missing' is not defined"):
        mmmeta_asset(metadir=archive.config)(read)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("group_name", "Write group="),
        ("partitions_def", "Write partitions="),
        ("key_prefix", 'Write key="prefix/name"'),
        ("required_resource_keys", "A resource is a parameter"),
        ("backfill_policy", "It follows from partitions="),
        ("atempts", "Did you mean 'attempts'"),
        ("desciption", "Did you mean 'description'"),
        ("nonsense", "It takes rerun_on, attempts"),
    ],
)
def test_options_by_another_name(archive: Archive, option: str, reason: str) -> None:
    """Those of Dagster's own decorators, and mistyped ones."""
    given: dict[str, Any] = {option: "x"}
    with pytest.raises(JobError, match=f"does not take '{option}'.*{reason}"):
        mmmeta_asset(metadir=archive.config, **given)(lambda file: None)


def test_without_a_metadir(archive: Archive) -> None:
    """Brackets may be left out; and the definitions say that it is bound to no metadir."""

    @mmmeta_asset
    def read(file: File) -> None:
        pass

    assert isinstance(read, UnboundAsset)
    assert read.bind(archive.config).key == dg.AssetKey(["archive", "read"])
    with pytest.raises(JobError, match=r"'read': @mmmeta_asset was given no metadir.*read\.bind\(metadir\)"):
        build_definitions(metadirs={"archive": archive.config}, assets=[read])  # type: ignore[list-item]


def test_what_the_function_returns_is_ignored_and_said_so(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Once a run; metadata of its own comes through the context."""

    @mmmeta_asset(metadir=archive.config, where={"document_type": "letter"})
    def read(context: dg.AssetExecutionContext, file: File) -> dg.MaterializeResult[None]:
        context.add_output_metadata({"mine": 1})
        return dg.MaterializeResult(metadata={"lost": 1})

    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[read])
    result = definitions.resolve_job_def("archive_read").execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("archive__read")
    assert "lost" not in event.metadata
    assert event.metadata["mine"].value == 1
    told = [log for log in instance.all_logs(result.run_id) if "What read returns is ignored" in log.user_message]
    assert len(told) == 1


def test_an_import_of_partitions_without_the_assets(archive: Archive) -> None:
    """It would be a partitioned Dagster job, which the sensor cannot start."""
    partitions = {"by": "document_type"}
    jobs = {"load": {"load": {"to": "sqlite:///x.db", "table": "t"}, "partitions": partitions}}
    metadir = MetadirConfig(name="archive", path=archive.client, jobs=jobs)
    with pytest.raises(JobError, match="archive_import: an asset of it has partitions, so it needs all assets"):
        build_import_job(metadir=metadir)
    assert build_import_job(metadir=metadir, assets=build_metadir_assets(metadir=metadir)).partitions_def is None
