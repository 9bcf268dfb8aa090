"""``MetadirComponent`` in a project: what its YAML may hold, and what is said where that is wrong."""

from __future__ import annotations

import sys
import textwrap

import dagster as dg
import pytest
from component_project import ARCHIVE, TYPE, Folder, specs_of
from small_archive import Archive

# Dagster rebuilds the asset checks that a folder of definitions brings, with a parameter of its own that it calls beta.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `execution_type` of function `AssetsDefinition")

# Dagster itself makes a component's asset checks anew, with a parameter of its own that it calls beta.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Parameter `execution_type` of function `AssetsDefinition.__init__` is currently in beta"
)


def test_a_component_imports_as_the_project_file_does(
    project: Folder, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Assets, jobs, sensor, resource; `context.project_root` is the folder of pyproject.toml."""
    project.component("docs", ARCHIVE)
    definitions = project.load()
    assert set(specs_of(definitions)) == {"archive/metadata_db", "archive/state_db", "archive/download_contracts"}
    assert definitions.resolve_sensor_def("archive_remote_updated")
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]


def test_two_components_stand_side_by_side(project: Folder) -> None:
    """Each has its own names, resource keys among them; in one file, too."""
    project.component("one", "attributes: {name: one, path: /data/one}")
    project.component(
        "others", "attributes: {name: two, path: /two}\n---\n" + TYPE + "attributes: {name: six, path: /6}"
    )
    repository = project.load().get_repository_def()
    assert {"one_metadir", "two_metadir", "six_metadir"} <= set(repository.get_top_level_resources())
    assert {"one_import", "two_import", "six_import"} <= set(repository.job_names)


def test_relative_paths_are_taken_from_the_folder_of_the_yaml(project: Folder) -> None:
    path = project.component("docs", "attributes: {name: docs, path: ../data, state: ./state.db}")
    spec = specs_of(project.load())["docs/metadata_db"]
    assert spec.metadata["path"].value == str(path.parents[1] / "data")


def test_templates_of_dagster_and_variables_as_in_the_project_file(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable is text, a template is what it gives, and what is no template stays what it is: "123" is text."""
    monkeypatch.setenv("ARCHIVE_NUMBER", "00123")
    project.component(
        "docs",
        """
        template_vars_module: .variables
        attributes:
          name: docs
          path: "{{ context.project_root }}/{{ env.FOLDER | default('data') }}"
          jobs:
            numbered:
              where: {a: "{{ env.ARCHIVE_NUMBER }}", b: "123", c: "{{ number }}", d: "{{ number }} {{ number }}"}
              attempts: "{{ number }}"
              download: {to: ./downloads, name: "{_file_name}"}
        """,
    )
    variables = "import dagster as dg\n\n\n@dg.template_var\ndef number() -> int:\n    return 7\n"
    (project.package / "defs" / "docs" / "variables.py").write_text(variables)
    specs = specs_of(project.load())
    assert specs["docs/metadata_db"].metadata["path"].value == str(project.root / "data")
    selection = specs["docs/numbered"].metadata["selection"]
    assert selection == 'a is "00123" and b is "123" and c is 7 and d is "7 7"'
    assert "- attempts: 7" in specs["docs/numbered"].metadata["rules"].value


def test_a_variable_that_is_missing_is_named(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what may have been meant, and what to do."""
    monkeypatch.setenv("ARCHIVE_FOLDER", "/secret/place")
    path = project.component("docs", 'attributes:\n  name: docs\n  path: "{{ env.ARCHIVE_FOLDR }}"')
    said = project.why_not()
    assert str(path) in said
    assert "ARCHIVE_FOLDR is not set. Did you mean 'ARCHIVE_FOLDER'? Set it" in said
    assert "/secret/place" not in said


def test_all_that_is_wrong_is_named_with_line_and_near_miss(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the project file; what a variable holds is not shown."""
    monkeypatch.setenv("MANY", "a-secret")
    path = project.component(
        "docs",
        """
        attributes:
          name: docs
          path: ./data
          sensr: {interval: 5}
          jobs:
            fetch:
              where: {a: {">>": 3}}
              download:
                too: ./downloads
              attempts: "{{ env.MANY }}"
              backoff: "{{ later }}"
        """,
    )
    said = project.why_not()
    expected = [
        f"{path}:6: attributes.sensr: is not a key that is known here. Did you mean 'sensor'?",
        f"{path}:9: attributes.jobs.fetch.where.a[\">>\"]: a: '>>' is not an operator. Did you mean '>'?",
        f"{path}:11: attributes.jobs.fetch.download.too: is not a key that is known here. Did you mean 'to'?",
        f"{path}:12: attributes.jobs.fetch.attempts: needs a whole number (it is '{{{{ env.MANY }}}}')",
        f"{path}:13: attributes.jobs.fetch.backoff: 'later' not found in scope",
    ]
    told = [line for line in said.splitlines() if line.startswith(str(path))]
    assert [line[: len(start)] for line, start in zip(told, expected, strict=True)] == expected
    assert "a-secret" not in said
    assert "pydantic" not in said


def test_mistakes_of_one_of_several_components_in_a_file_are_a_line_each(project: Folder) -> None:
    """Its lines cannot be told, but file, key and remedy."""
    one = "type: mmmeta_dagster.MetadirComponent\nattributes:\n  name: one\n  path: a\n"
    path = project.component("docs", "attributes: {name: docs, path: ./data, sensr: {}, jobs: {a: {attemps: 5}}}\n")
    path.write_text(f"{path.read_text()}---\n{one}")
    told = [line for line in project.why_not().splitlines() if line.startswith(str(path))]
    assert told == [
        f"{path}: jobs.a.attemps: is not a key that is known here. Did you mean 'attempts'?",
        f"{path}: sensr: is not a key that is known here. Did you mean 'sensor'?",
    ]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("{name: docs, path: ., jobs: {j: {}}}", "jobs.j: 'j' has nothing to do. Give it one of download:"),
        ("{name: docs, path: '{{ nothing }}'}", "'nothing' not found in scope"),
        (
            "{name: docs, path: ., assets: [nowhere.texts.extract]}",
            "defs.yaml:2: attributes.assets[0]: there is no module 'nowhere'",
        ),
        ("{name: docs, path: ., assets: [mmmeta_dagster.keys.poool]}", "has no 'poool'. Did you mean 'pool'?"),
        ("{name: docs, path: ., assets: [mmmeta_dagster.keys.pool]}", "is not made by @mmmeta_asset"),
        ("{name: docs, path: ., assets: papers.lengths.lengths}", "needs a list: [papers.lengths.lengths]"),
        ("{name: docs, path: ., assets: {papers: lengths}}", "needs a list: [package.module.name]"),
        ("{name: docs, path: ., assets: [pool]}", "'pool' names no module. Write package.module.pool"),
        (
            "\n  name: docs\n  path: .\n  jobs:\n    j:\n      command: {run: [ls]}\n      automation: eagerr",
            "defs.yaml:8: attributes.jobs.j.automation: Dagster",
        ),
        ("{name: docs, path: ., files_rot: '{{ context.project_root }}/x'}", "Did you mean 'files_root'?"),
        ("\n  name: docs\n  path: .\n  jobs:\n    a-b: {command: {run: [ls]}}", "'a-b' cannot name a job"),
    ],
)
def test_what_only_shows_when_it_is_loaded(project: Folder, attributes: str, reason: str) -> None:
    project.component("docs", f"attributes: {attributes}")
    assert reason in project.why_not()


def test_a_word_where_a_list_is_due_is_named_with_its_line(project: Folder) -> None:
    """And nothing at all is no asset."""
    path = project.component("docs", "attributes:\n  name: docs\n  path: .\n  assets: papers.lengths.lengths\n")
    said = project.why_not()
    assert f"{path}:5" in said
    assert "KeyError" not in said
    path.write_text(path.read_text().replace("papers.lengths.lengths", ""))
    assert project.load()


def test_what_two_components_may_not_have_in_common(project: Folder) -> None:
    """As two metadirs of the project file: name, state db, names of Dagster jobs; said with file and line."""
    one = "attributes:\n  name: one\n  path: /data/one\n"
    load = "{command: {run: [ls]}}"
    for other, reason in (
        ("attributes:\n  name: one\n  path: /data/two\n", "another component is called 'one', too"),
        ("attributes:\n  name: two\n  path: /data/one\n", "have the same state db. Give one of them another state:"),
        (
            f"attributes:\n  name: one_a\n  path: /data/two\n  jobs: {{b: {load}, update: {load}}}\n",
            "the name 'update' is taken",
        ),
        (f"attributes:\n  name: one_a\n  path: /data/two\n  jobs: {{b: {load}}}\n", "would both be one_a_b in Dagster"),
    ):
        jobs = f"  jobs: {{a_b: {load}}}\n" if "both be" in reason else ""
        project.component("first", one + jobs)
        path = project.component("second", other)
        said = project.why_not()
        assert reason in said
        assert f"{path.parent.parent}/first/defs.yaml:" in said or str(path) in said
    project.component("second", "attributes:\n  name: two\n  path: /data/one\n  state: ./state.db\n")
    assert "two/state_db" in specs_of(project.load())


def test_no_message_shows_what_a_variable_holds(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of checks while Dagster reads the file nor those after its templates are filled."""
    monkeypatch.setenv("DB_URL", "postgresql://me:hunter2@h/db")
    for wrong in ("group: '{{ env.DB_URL }}'", "group: '{{ env.DB_URL }}{{ context.project_root }}'"):
        jobs = f"  jobs: {{j: {{command: {{run: [ls]}}, {wrong}}}}}\n"
        project.component("docs", f"attributes:\n  name: docs\n  path: .\n{jobs}")
        said = project.why_not()
        assert "is no group" in said
        assert "{{ env.DB_URL }}" in said
        assert "hunter2" not in said


def test_jobs_made_in_python_join_the_metadir_of_the_component(
    project: Folder, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """One function serves two components; sensor and import of each know the job."""
    (project.package / "noting.py").write_text(
        textwrap.dedent(
            """
            import dagster as dg
            from mmmeta import File
            from mmmeta_dagster import mmmeta_asset

            seen = []

            @mmmeta_asset(where={"document_type": "letter"}, kinds=["python"])
            def note(context: dg.AssetExecutionContext, file: File) -> None:
                '''Notes letters.'''
                seen.append((context.asset_key.to_user_string(), file["_file_name"]))
            """
        )
    )
    assets = f"  assets: [{project.module}.noting.note]\n"
    project.component("docs", ARCHIVE + assets)
    project.component(
        "others", "attributes:\n  name: others\n  path: ../../../../client\n  state: ./state.db\n" + assets
    )
    definitions = project.load()
    assert specs_of(definitions)["others/note"].description == "Notes letters."
    for name in ("archive", "others"):
        assert definitions.resolve_job_def(f"{name}_note")
        assert definitions.resolve_job_def(f"{name}_import").execute_in_process(instance=instance).success
    assert sorted(sys.modules[f"{project.module}.noting"].seen) == [
        ("archive/note", "letter0.txt"),
        ("archive/note", "letter1.txt"),
        ("others/note", "letter0.txt"),
        ("others/note", "letter1.txt"),
    ]
    assert archive.status.jobs["note"].done == 2


def test_post_processing_of_dagster_s_yaml(project: Folder, instance: dg.DagsterInstance) -> None:
    """Groups and tags that YAML puts over all assets; the import runs as before."""
    project.component(
        "docs",
        ARCHIVE
        + textwrap.dedent(
            """
            post_processing:
              assets:
                - target: "*"
                  attributes: {group_name: papers, tags: {team: a}}
            """
        ),
    )
    definitions = project.load()
    spec = specs_of(definitions)["archive/download_contracts"]
    assert (spec.group_name, spec.tags["team"]) == ("papers", "a")
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success


def test_a_subclass_brings_its_translator(project: Folder) -> None:
    """`type:` names the class of the project."""
    path = project.component("docs", ARCHIVE)
    path.write_text(path.read_text().replace("mmmeta_dagster.MetadirComponent", f"{project.module}.ours.Ours"))
    (project.package / "ours.py").write_text(
        textwrap.dedent(
            """
            from mmmeta_dagster import DagsterMmmetaTranslator, MetadirComponent


            class Prefixed(DagsterMmmetaTranslator):
                def get_asset_key(self, asset):
                    return super().get_asset_key(asset).with_prefix("lake")


            class Ours(MetadirComponent):
                translator = Prefixed()
            """
        )
    )
    assert "lake/archive/download_contracts" in specs_of(project.load())


def test_a_job_made_in_python_has_partitions_and_a_resource_of_the_project(
    project: Folder, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """The resource stands where ``dg`` puts it: in definitions of its own beside the component's."""
    (project.package / "shelves.py").write_text(
        textwrap.dedent(
            """
            import dagster as dg
            from mmmeta import File
            from mmmeta_dagster import mmmeta_asset

            seen = []

            class Shelf(dg.ConfigurableResource):
                name: str

            @mmmeta_asset(where={"document_type": "contract"}, partitions={"by": "url"})
            def keep(file: File, shelf: Shelf) -> None:
                seen.append(f"{file['_file_name']} on {shelf.name}")
            """
        )
    )
    (project.package / "defs" / "resources.py").write_text(
        textwrap.dedent(
            f"""
            import dagster as dg
            from {project.module}.shelves import Shelf

            @dg.definitions
            def resources() -> dg.Definitions:
                return dg.Definitions(resources={{"shelf": Shelf(name="top")}})
            """
        )
    )
    schedules = "  schedules: {import: '0 3 * * *'}\n"
    project.component("docs", f"{ARCHIVE}  assets: [{project.module}.shelves.keep]\n{schedules}")
    definitions = project.load()
    assert definitions.resolve_sensor_def("archive_remote_updated").job_name == "archive_import"
    assert definitions.resolve_schedule_def("archive_import_schedule").job_name == "archive_import"
    imported = definitions.resolve_job_def("archive_import").execute_in_process(instance=instance)
    assert imported.success
    assert sorted(sys.modules[f"{project.module}.shelves"].seen) == [f"contract{one}.txt on top" for one in range(3)]
    archive.write("contract3", "contract", url="0")
    archive.publish()
    one = definitions.resolve_job_def("archive_keep").execute_in_process(instance=instance, partition_key="0")
    assert one.success
    assert sys.modules[f"{project.module}.shelves"].seen[-1] == "contract3.txt on top"
