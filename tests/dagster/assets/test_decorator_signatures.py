"""What the function under ``@mmmeta_asset`` may look like: what a run could not call is refused when it is written."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Annotated, Any, Optional

import dagster as dg
import pytest
from pydantic import BaseModel
from small_archive import Archive

from mmmeta import File
from mmmeta.errors import JobError
from mmmeta_dagster import JobOptions, build_definitions, mmmeta_asset


class Plain(dg.Config):
    """No subclass of JobOptions, which is allowed."""

    depth: int = 3


class Open(dg.PermissiveConfig):
    """Takes further fields."""

    depth: int = 3


class Nested(JobOptions):
    """A config in a config."""

    plain: Plain = Plain(depth=5)
    maybe: Optional[int] = None  # noqa: UP045


class Needy(JobOptions):
    """A value that no run of the sensor has."""

    folder: str


class Odd(dg.Config):
    """A type that Dagster has no field for."""

    made: object = None


class Model(BaseModel):
    """No config of Dagster's."""

    depth: int = 3


def refused(archive: Archive, function: Callable[..., object], reason: str) -> None:
    """With a metadir and without one, where the function is written."""
    for metadir in (archive.config, None):
        with pytest.raises(JobError, match=reason):
            mmmeta_asset(metadir=metadir)(function)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (int, "config of read is annotated with int, and must be a subclass of JobOptions or dg.Config"),
        (dict, "annotated with dict"),
        (dict[str, Any], "annotated with dict"),
        (list[str], "annotated with list"),
        (Any, "annotated with "),
        ({}, "annotated with {}"),
        (None, "annotated with NoneType"),
        (Plain | None, "annotated with .*Plain"),
        (Annotated[Plain, "mine"], "annotated with "),
        (Model, "annotated with Model"),
        (Plain(), "annotated with .*depth"),
        (Needy, "Needy needs a value for folder, and nobody gives one to the runs of a sensor"),
        (Odd, "is a Odd that Dagster refuses: "),
    ],
)
def test_a_config_that_no_run_could_make(archive: Archive, config: Any, reason: str) -> None:
    """Dagster takes some of them, and asks for the value in each run."""

    def read(file: File, config: Any) -> None: ...

    read.__annotations__["config"] = config
    refused(archive, read, reason)


def test_a_default_of_the_config_is_refused_as_dagster_does(archive: Archive) -> None:
    """No run would get it."""

    def read(file: File, config: Plain = Plain(depth=9)) -> None: ...  # noqa: B008

    def count(file: File, config: int = 9) -> None: ...

    refused(archive, read, "config of read has a default, which no run would get: write it to the fields of Plain")
    refused(archive, count, "config of count is annotated with int")


# Dagster reads the fields of a class that has none by a name that pydantic has deprecated.
@pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")
@pytest.mark.parametrize("config", [Plain, Open, Nested, dg.Config, dg.PermissiveConfig, JobOptions, None])
def test_configs_that_dagster_makes_by_itself(
    archive: Archive, instance: dg.DagsterInstance, config: type[dg.Config] | None
) -> None:
    """The class of a person's own arrives; without an annotation it is JobOptions."""
    seen: list[object] = []

    def read(file: File, config: Any) -> None:
        seen.append(config)

    read.__annotations__["config"] = config
    if config is None:
        del read.__annotations__["config"]
    asset = mmmeta_asset(metadir=archive.config)(read)
    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[asset])
    job = definitions.resolve_job_def("archive_read")
    assert job.execute_in_process(instance=instance).success
    assert {type(one) for one in seen} == {config or JobOptions}


def test_functions_that_do_nothing_when_they_are_called(archive: Archive) -> None:
    """A coroutine or a generator begins nothing."""

    async def later(file: File) -> None: ...

    def bit_by_bit(file: File) -> Iterator[int]:
        yield 1

    async def both(file: File) -> AsyncIterator[int]:
        yield 1

    for function in (later, bit_by_bit, both, File, functools.lru_cache(lambda file: None)):
        refused(archive, function, "must be an ordinary function, no async one and no generator")


def test_a_coroutine_that_a_decorator_hides_is_the_files_failure(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """And not done: nobody awaits it."""

    async def later(file: File) -> None: ...

    @mmmeta_asset(metadir=archive.config, where={"document_type": "letter"})
    def read(file: File) -> object:
        return later(file)

    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[read])
    job = definitions.resolve_job_def("archive_read")
    assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    with archive.open() as m:
        (error, *_) = m.recorded_job("read").files()
    assert "returned a coroutine" in str(error.error_message)


def test_stars_before_what_is_given_by_name(archive: Archive) -> None:
    """Python would take them elsewhere."""

    def many(*files: File) -> None: ...

    def one(**file: File) -> None: ...

    def told(file: File, *context: Any) -> None: ...

    def set_up(file: File, **config: Any) -> None: ...

    for function, name in ((many, "files"), (one, "file"), (told, "context"), (set_up, "config")):
        refused(archive, function, f"{name} of {function.__name__} is given by name, and once: leave out the star")


def test_a_file_that_is_annotated_as_a_list_and_the_other_way_round(archive: Archive) -> None:
    def one(file: list[File]) -> None: ...

    def each(file: Sequence[File]) -> None: ...

    def many(files: File) -> None: ...

    for function in (one, each):
        refused(archive, function, f"file of {function.__name__} gets one file at a time; call it files for a list")
    refused(archive, many, "files of many gets a list of files; call it file for one")


def test_a_decorator_in_between_that_hands_on_too_little(archive: Archive, instance: dg.DagsterInstance) -> None:
    """It shows another signature than it has."""
    seen: list[str] = []

    def narrow(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def wrapper(file: File) -> object:
            return function(file)

        return wrapper

    def wide(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> object:
            return function(*arguments, **options)

        return wrapper

    def read(context: dg.AssetExecutionContext, file: File, config: Plain) -> None:
        seen.append(file["_file_name"])

    refused(archive, narrow(read), "read cannot be called with file, config, context: .*hand on ")
    asset = mmmeta_asset(metadir=archive.config)(wide(read))
    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[asset])
    assert definitions.resolve_job_def("archive_read").execute_in_process(instance=instance).success
    assert len(seen) == 5


@pytest.mark.parametrize("annotation", ["dg.Missing", "List[", "Missing"])
def test_annotations_that_cannot_be_read(archive: Archive, annotation: str) -> None:
    """Whatever Python raises for them."""

    def read(file: File, shelf: Any) -> None: ...

    read.__annotations__["shelf"] = annotation
    refused(archive, read, "an annotation of read cannot be read: ")


@pytest.mark.parametrize("annotation", [{}, [int], 5, int | None, "int"])
def test_annotations_that_are_no_resource(archive: Archive, annotation: Any) -> None:
    """Also those which Dagster itself cannot take; with a default they do not matter."""

    def read(file: File, shelf: Any) -> None: ...

    def kept(file: File, shelf: Any = 1) -> None: ...

    for function in (read, kept):
        function.__annotations__["shelf"] = annotation
    refused(archive, read, "nobody can give read its parameter 'shelf', which is no resource")
    assert mmmeta_asset(metadir=archive.config)(kept).key == dg.AssetKey(["archive", "kept"])


def test_a_text_in_place_of_a_list_of_dependencies(archive: Archive) -> None:
    """It would be a dependency on each of its letters."""
    with pytest.raises(JobError, match="'abc' is one text, and a list of assets or their keys is needed"):
        mmmeta_asset(metadir=archive.config, deps="abc")(lambda file: None)
