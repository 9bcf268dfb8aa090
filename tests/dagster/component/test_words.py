"""``translation`` and ``op`` of a component beyond Dagster's own suite: what they mean in runs, and what is refused."""

from __future__ import annotations

import textwrap

import dagster as dg
import pytest
from component_project import ARCHIVE, TYPE, Folder, specs_of
from small_archive import Archive

# Dagster itself makes a component's asset checks anew, with a parameter of its own that it calls beta.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Parameter `execution_type` of function `AssetsDefinition.__init__` is currently in beta"
)

JOB = "\n    download_contracts:\n"


def with_job(words: str) -> str:
    """The archive, and more about its job."""
    return ARCHIVE + textwrap.indent(textwrap.dedent(words), " " * 6)


def with_metadir(words: str) -> str:
    """The archive, and more about all of it."""
    return ARCHIVE + textwrap.indent(textwrap.dedent(words), " " * 2)


def test_templates_know_what_the_asset_stands_for(project: Folder) -> None:
    """``spec``, ``name``, ``job`` and ``metadir``; the job's words come after the metadir's."""
    words = """
        translation:
          group_name: "{{ metadir.name }}_{{ name }}"
          tags: {all: "yes", who: metadir}
          key_prefix: lake
    """
    job = """
        translation:
          description: "{{ spec.group_name }}: {{ job.attempts }} attempts"
          tags: {who: job}
          key: "{{ spec.key.to_user_string() }}/raw"
    """
    project.component("docs", with_job(job) + textwrap.indent(textwrap.dedent(words), " " * 2))
    specs = specs_of(project.load())
    assert set(specs) == {
        "lake/archive/metadata_db",
        "lake/archive/state_db",
        "lake/archive/download_contracts/raw",
    }
    spec = specs["lake/archive/download_contracts/raw"]
    assert (spec.group_name, spec.description) == (
        "archive_download_contracts",
        "archive_download_contracts: 5 attempts",
    )
    assert (spec.tags["all"], spec.tags["who"]) == ("yes", "job")
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["lake/archive/state_db"]
    assert specs["lake/archive/state_db"].tags["who"] == "metadir"


def test_a_template_may_give_the_whole_translation(project: Folder) -> None:
    """A function of the project, which gets the spec."""
    project.component("docs", "template_vars_module: .variables\n" + with_job('translation: "{{ ours(spec, job) }}"\n'))
    (project.package / "defs" / "docs" / "variables.py").write_text(
        textwrap.dedent(
            """
            import dagster as dg


            @dg.template_var
            def ours():
                return lambda spec, job: spec.replace_attributes(group_name=f"of_{job.name}")
            """
        )
    )
    assert specs_of(project.load())["archive/download_contracts"].group_name == "of_download_contracts"


@pytest.mark.parametrize("everywhere", [True, False])
def test_what_the_words_change_imports_as_before(
    project: Folder, archive: Archive, instance: dg.DagsterInstance, everywhere: bool
) -> None:
    """Other keys, ops, partitions, and dependencies that leave the state db out: the update is first nevertheless, the
    checks are told, and what nobody asked a partition for takes none."""
    words = """
        translation:
          key_prefix: aaa
          deps: [elsewhere]
          partitions_def: {type: static, partition_keys: [foo, bar]}
        op: {name: my_op, tags: {team: a}, pool: ours}
    """
    project.component("docs", (with_metadir if everywhere else with_job)(words))
    definitions = project.load()
    result = definitions.resolve_job_def("archive_import").execute_in_process(instance=instance)
    assert result.success
    assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]
    key = dg.AssetKey(["aaa", "archive", "download_contracts"])
    checks = {event.check_name for event in result.get_asset_check_evaluations() if event.asset_key == key}
    assert {"nothing_dead", "results_in_place"} <= checks
    steps = [event.step_key for event in result.all_events if event.event_type_value == "STEP_START"]
    first, second = ("my_op__state_db", "my_op__download_contracts") if everywhere else ("archive__state_db", "my_op")
    assert steps.index(first) < steps.index(second)
    asset = definitions.resolve_assets_def(key)
    assert (asset.op.tags["team"], asset.op.pool) == ("a", "ours")
    again = definitions.resolve_job_def("archive_import").execute_in_process(instance=instance)
    assert again.success
    assert definitions.resolve_job_def("archive_update").execute_in_process(instance=instance).success
    single = definitions.resolve_job_def("archive_download_contracts")
    assert single.execute_in_process(instance=instance, partition_key="foo").success
    assert instance.get_materialized_partitions(key) == {"foo"}


def test_a_condition_in_a_translation_is_one(project: Folder) -> None:
    """As ``automation``: the import leaves the job alone, and a sensor evaluates the condition."""
    # The oldest Dagster has its conditions under another name.
    old = dg.__version__.startswith("1.11.")
    condition = f'{{{{ {"automation_condition" if old else "dg.AutomationCondition"}.on_cron("0 3 * * *") }}}}'
    with_condition = with_job(f"translation: {{automation_condition: '{condition}'}}\n")
    project.component("docs", with_condition)
    definitions = project.load()
    assert definitions.resolve_sensor_def("archive_automation")
    imported = definitions.resolve_job_def("archive_import")
    assert [key.to_user_string() for key in imported.asset_layer.executable_asset_keys] == ["archive/state_db"]


def test_a_subclass_overrides_what_is_done_and_how_it_looks(
    project: Folder, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """``execute`` and ``get_asset_spec``, as in Dagster's own integrations."""
    path = project.component("docs", with_job("translation: {group_name: ours}\n"))
    path.write_text(path.read_text().replace(TYPE, f"type: {project.module}.ours.Ours\n"))
    (project.package / "ours.py").write_text(
        textwrap.dedent(
            """
            from collections.abc import Iterator

            import dagster as dg

            from mmmeta_dagster import MetadirAsset, MetadirComponent

            seen = []


            class Ours(MetadirComponent):
                def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
                    spec = super().get_asset_spec(asset)
                    return spec.replace_attributes(key=spec.key.with_prefix("lake"), owners=["team:ours"])

                def execute(self, context, asset, options) -> Iterator[dg.MaterializeResult]:
                    seen.append((asset.name, type(options).__name__))
                    yield from super().execute(context, asset, options)
                    seen.append(context.asset_key.to_user_string())
            """
        )
    )
    definitions = project.load()
    spec = specs_of(definitions)["lake/archive/download_contracts"]
    assert (spec.group_name, list(spec.owners)) == ("ours", ["team:ours"])
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert archive.status.jobs["download_contracts"].done == 3
    assert __import__(f"{project.module}.ours", fromlist=["seen"]).seen == [
        ("state_db", "UpdateOptions"),
        "lake/archive/state_db",
        ("download_contracts", "JobOptions"),
        "lake/archive/download_contracts",
    ]


def test_the_words_hold_for_jobs_made_in_python(
    project: Folder, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Those of the metadir; what ``@mmmeta_asset`` is given comes after them."""
    (project.package / "noting.py").write_text(
        textwrap.dedent(
            """
            from mmmeta import File
            from mmmeta_dagster import mmmeta_asset

            @mmmeta_asset(where={"document_type": "letter"}, op_tags={"who": "python"}, deps=["own"])
            def note(file: File) -> None:
                '''Notes letters.'''
            """
        )
    )
    words = "translation: {key_prefix: lake, deps: [elsewhere]}\nop: {name: ours, tags: {team: a}}\n"
    project.component("docs", with_metadir(words + f"assets: [{project.module}.noting.note]\n"))
    definitions = project.load()
    spec = specs_of(definitions)["lake/archive/note"]
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {"elsewhere", "own"}
    op = definitions.resolve_assets_def(spec.key).op
    assert (op.name, op.tags["team"], op.tags["who"]) == ("ours__note", "a", "python")
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert archive.status.jobs["note"].done == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("translation: {group: x}", "attributes.jobs.download_contracts.translation.group: is not a key"),
        ("translation: {group_nam: x}", "Did you mean 'group_name'?"),
        ("translation: {tags: 5}", "attributes.jobs.download_contracts.translation.tags:"),
        ("translation: 5", "attributes.jobs.download_contracts.translation:"),
        ("translation: {group_name: '{{ nothing }}'}", "attributes.jobs.download_contracts.translation:"),
        ("translation: '{{ 5 }}'", "attributes.jobs.download_contracts.translation:"),
        ("translation: {tags: {a: '{{ env.SECRET_WORD }} !'}}", "attributes.jobs.download_contracts.translation:"),
        ("translation: {key: archive/state_db}", "'state_db' and 'download_contracts' would both be the asset key"),
        (
            "translation: {partitions_def: {type: static, partition_keys: [a]}}\npartitions: {by: url}",
            "has partitions: of its own",
        ),
        ("op: {nam: x}", "Did you mean 'name'?"),
        ("op: {name: my op}", "attributes.jobs.download_contracts.op.name: 'my op' is no name of an op"),
        ("op: {name: archive__state_db}", "would both be the op archive__state_db"),
        ("op: {backfill_policy: {type: many}}", "attributes.jobs.download_contracts.op.backfill_policy:"),
        ("transation: {}", "Did you mean 'translation'"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(
    project: Folder, monkeypatch: pytest.MonkeyPatch, words: str, reason: str
) -> None:
    """With file, line and key, and without what a variable holds."""
    monkeypatch.setenv("SECRET_WORD", "hunter2hunter2")
    path = project.component("docs", with_job(words + "\n"))
    said = project.why_not()
    assert reason in said
    assert str(path) in said
    assert "hunter2" not in said


def test_one_key_for_all_assets_is_refused(project: Folder) -> None:
    project.component("docs", with_metadir("translation: {key: one}\n"))
    assert "'metadata_db' and 'state_db' would both be the asset key one" in project.why_not()


def test_a_component_of_a_dictionary(archive: Archive) -> None:
    """As Dagster's own tests make one."""
    from mmmeta_dagster import MetadirComponent

    component = MetadirComponent.from_attributes_dict(
        attributes={
            "name": "docs",
            "path": str(archive.client),
            "op": {"pool": "ours"},
            "translation": {"kinds": ["a"]},
        }
    )
    assert component.op is not None
    assert component.op.pool == "ours"
