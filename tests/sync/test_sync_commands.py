"""The verbs of the command line, and what the project file says of syncing."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sync_places import files_of, head_of, publish, synced

from mmmeta import Metadir, load_project, mmmeta
from mmmeta.cli import main
from mmmeta.errors import ProjectError, SyncError
from mmmeta.project import SyncConfig
from mmmeta.sync import pull, push


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def project(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project file with the client, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mmmeta.yaml"
    path.write_text("version: 1\nmetadirs:\n  archive: {path: ./client, sync: {pull: ./server, push: ./place}}\n")
    return path


def test_pull_and_push_as_the_project_file_says(project: Path, server: Path, client: Path, tmp_path: Path) -> None:
    """Relative to the file; results on stdout."""
    said = run("sync", "pull").stdout
    assert f"archive: pulled revision 3 from {server} (8 files, " in said
    assert "archive: nothing new, revision 3 is there" in run("sync", "pull").stdout
    assert (
        f"archive: would be pushed: revision 3 to {tmp_path / 'place'} (3 files"
        in run("sync", "push", "--dry-run").stdout
    )
    assert "archive: pushed revision 3" in run("sync", "push").stdout
    assert synced(tmp_path / "place") == synced(server) == synced(client)
    told = json.loads(run("sync", "pull", "--json").stdout)
    assert (told["metadir"], told["revision"], told["is_new"], told["documents"]) == ("archive", 3, False, None)
    assert run("sync").stdout == f"archive: pull from {server}; push to {tmp_path / 'place'}\n"
    assert json.loads(run("sync", "--json").stdout)["pull"] == f"from {server}"


def test_a_place_that_is_typed_counts_before_the_project_file(project: Path, client: Path, tmp_path: Path) -> None:
    """And needs none."""
    publish(tmp_path / "other", "x")
    assert "pulled revision 1 from" in run("sync", "pull", "./other").stdout
    project.unlink()
    assert "pulled revision 1 from" in run("--metadir", "./second", "sync", "pull", "./other").stdout
    assert "Nothing says where to pull: add the place" in run("--metadir", "./second", "sync", "pull", code=2).stderr
    assert "Nothing says where to push: add the place" in run("--metadir", "./second", "sync", "push", code=2).stderr
    assert "give the base path that holds _mmmeta" in run("sync", "pull", "s3://b/_mmmeta", code=2).stderr


def test_a_clumsy_place_is_met_with_a_word(project: Path, server: Path, client: Path) -> None:
    """The metadir itself, the same folder, a place that nobody reads, a host that does not answer."""
    publish(client.with_name("other"), "x")
    wrong = {
        (
            "--metadir",
            "./client/_mmmeta",
            "sync",
            "pull",
            "./server",
        ): "is the metadir itself: name the folder that holds it",
        ("--metadir", "./client", "sync", "pull", "./client"): "is the folder here, with which it cannot be synced",
        ("--metadir", "./other", "sync", "push", "./other"): "is the folder here, with which it cannot be synced",
        ("sync", "pull", "foo://a/b"): "foo:// cannot be read here",
        (
            "sync",
            "pull",
            "ftp://127.0.0.1:1/x",
        ): "ftp://127.0.0.1:1/x/_mmmeta/head.json: ConnectionRefusedError: Connection refused",
    }
    for words, said in wrong.items():
        assert said in run(*words, code=1).stderr
    assert not (client / "_mmmeta" / "_mmmeta").exists()


def test_of_several_metadirs_those_are_synced_that_say_where(project: Path, tmp_path: Path) -> None:
    """One place for all of them is none."""
    project.write_text(
        "version: 1\nmetadirs:\n  a: {path: ./a, sync: {pull: ./server}}\n  b: {path: ./b}\n  c: {path: ./c, sync: {pull: ./nothing}}\n"
    )
    result = run("sync", "pull", code=1)
    assert "a: pulled revision 3" in result.stdout
    assert "Error: c: " in result.stderr
    assert "there is no metadir, neither _mmmeta/head.json nor _mmmeta/meta.db" in result.stderr
    assert "One place for several metadirs" in run("sync", "pull", "./server", code=2).stderr


WRONG = {
    "{pull: 'me@example.org:archive'}": "is how rsync and scp name a host. Write sftp://user@host/path",
    "{pull: s3://b/_mmmeta}": "give the base path that holds _mmmeta",
    "{pull: 's3://user:pass word@b'}": "a URL cannot have spaces",
    "{pull: ./a, command: [rclone]}": "pull is given as well: say only one of them",
    "{command: rclone sync a b}": "needs a list of arguments, for no shell reads it: [rclone, sync, a, b]",
    "{command: []}": "is empty. Name a program and its arguments",
    '{command: [rclone, "{remote}"]}': "{remote} is not known. There is {path}",
    '{command: [rclone, "{path|x}"]}': "has no default",
    "{pul: ./a}": "Did you mean 'pull'?",
    "{documents: 3}": "needs a filter",
}


@pytest.mark.parametrize("sync", WRONG)
def test_what_is_wrong_with_sync_is_told_with_its_line(sync: str, project: Path) -> None:
    """As everything else in a project file."""
    project.write_text(f"version: 1\nmetadirs:\n  archive:\n    path: ./client\n    sync: {sync}\n")
    with pytest.raises(ProjectError) as caught:
        load_project(project)
    assert WRONG[sync] in str(caught.value)
    assert f"{project}:5: metadirs.archive.sync" in str(caught.value)
    assert "pass word" not in str(caught.value)


def test_documents_of_sync_have_a_folder_of_their_own(project: Path) -> None:
    """As the target of a download has: no name from the remote comes near the project file."""
    text = "version: 1\nmetadirs:\n  archive:\n    path: ./client\n    files_root: {}\n    sync: {{pull: ./server, documents: {{}}}}\n"
    project.write_text(text.format("."))
    with pytest.raises(
        ProjectError, match=r"mmmeta\.yaml:5: .*holds the project file mmmeta\.yaml, and the names of documents"
    ):
        load_project(project)
    project.write_text(text.format("./documents"))
    assert load_project(project).metadirs["archive"].sync.documents == {}


COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True, ignore=shutil.ignore_patterns('local'))"


def test_a_program_pulls_and_pushes_in_place_of_mmmeta(server: Path, client: Path, tmp_path: Path) -> None:
    """What it has left is looked at."""
    program = [sys.executable, "-c", COPY]
    config = SyncConfig(
        command=[*program, f"{server}/_mmmeta", "{path}/_mmmeta"],
        push_command=[*program, "{path}/_mmmeta", f"{tmp_path}/place/_mmmeta"],
    )
    report = pull(client, config)
    assert (report.revision_before, report.revision, report.is_new) == (None, 3, True)
    assert report.place == shlex.join([*program, f"{server}/_mmmeta", f"{client}/_mmmeta"])
    assert not pull(client, config).is_new
    assert files_of(client) == files_of(server)
    assert push(client, config).revision == 3
    assert head_of(tmp_path / "place") == head_of(server)
    assert "before it has run" in pull(client, config, dry_run=True).notes[0]


def test_a_program_that_fails_is_told_with_its_last_lines(client: Path) -> None:
    """And how it ended; secrets in its arguments are not."""
    lines = "import sys; [print('line', n, file=sys.stderr) for n in range(9)]; sys.exit(7)"
    config = SyncConfig(command=[sys.executable, "-c", lines, "--token=abcdefgh"])
    with pytest.raises(SyncError, match=r"ended with 7: line 4 / line 5 / line 6 / line 7 / line 8$") as caught:
        pull(client, config)
    assert "abcdefgh" not in str(caught.value)
    with pytest.raises(SyncError, match="the program 'no-such-program' that syncs was not found in PATH"):
        pull(client, SyncConfig(command=["no-such-program"]))
    with pytest.raises(SyncError, match="has brought no metadir into"):
        pull(client, SyncConfig(command=["true"]))


def test_a_program_that_brings_something_else_is_told(server: Path, client: Path, tmp_path: Path) -> None:
    """Another archive, or an older one; a half one is a note, for it is waited for."""
    pull(client, str(server))
    publish(tmp_path / "other", "x")
    config = SyncConfig(command=[sys.executable, "-c", COPY, f"{tmp_path}/other/_mmmeta", "{path}/_mmmeta"])
    with pytest.raises(SyncError, match="what it brought is not what was expected: it is of the metadata db"):
        pull(client, config)
    half = tmp_path / "half"
    program = [sys.executable, "-c", COPY, f"{server}/_mmmeta", "{path}/_mmmeta"]
    pull(half, SyncConfig(command=program))
    (server / "_mmmeta/changes/3-3.jsonl.gz").unlink()
    (half / "_mmmeta/changes/3-3.jsonl.gz").unlink()
    assert "3-3.jsonl.gz is not there yet" in pull(half, SyncConfig(command=program)).notes[0]


def test_documents_of_a_selection_come_along(server: Path, client: Path, project: Path, tmp_path: Path) -> None:
    """To the places that they have there; only those that are missing; what changed is named, for another one stands there."""
    folder = server / "papers" / "2026"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.txt").write_text(name)
        (folder / f"{name}.json").write_text(json.dumps({"title": name, "_file_name": f"{name}.txt", "id": name}))
    (server / "_mmmeta/config.yml").write_text("metadata: {unique: id}\n")
    with mmmeta(server) as m:
        m.generate(replace=True, allow_mass_delete=True)
    said = "--files-root", "./documents", "sync", "pull", "--documents"
    assert "1 document brought (3 bytes" in run(*said, "--where", "title=one").stdout
    assert (tmp_path / "documents/papers/2026/one.txt").read_text() == "one"
    assert not (tmp_path / "documents/papers/2026/two.txt").exists()
    assert "1 document brought (1 there already, 3 bytes" in run(*said).stdout
    assert "0 documents brought (2 there already" in run(*said).stdout
    (folder / "two.txt").write_text("2.0")
    with mmmeta(server) as m:
        m.generate()
    told = json.loads(run(*said, "--json", code=3).stdout)["documents"]
    assert (told["fetched"], told["there"], told["failed"]) == (0, 1, 1)
    assert "two.txt has another sha1 than" in told["failures"][0]
    assert "was left. Move it away and pull again" in told["failures"][0]
    (tmp_path / "documents/papers/2026/two.txt").unlink()
    assert "1 document brought" in run(*said).stdout
    assert (tmp_path / "documents/papers/2026/two.txt").read_text() == "2.0"
    assert "holds the project file mmmeta.yaml" in run("--files-root", ".", *said[2:], code=1).stderr
    (folder / "one.txt").unlink()
    (tmp_path / "documents/papers/2026/one.txt").unlink()
    result = run(*said, code=3)
    assert "1 document could not be had:" in result.stderr
    assert "one: " in result.stderr
    assert "nothing says where documents belong" in run("sync", "pull", "--documents", code=1).stderr
    assert "--where chooses documents" in run("sync", "pull", "--where", "a=b", code=2).stderr
    assert (client / "_mmmeta/local/state.db").exists()


@pytest.mark.parametrize(
    "path", ["../out.txt", "/etc/passwd", ".bashrc", "a/.git/hook", "_mmmeta/local/state.db", "_MMMETA/x", "a/../../b"]
)
def test_no_document_leaves_its_folder(path: str, tmp_path: Path, project: Path) -> None:
    """Nor gets a name that steers a program, or is mmmeta's own."""
    server = tmp_path / "hostile"
    with mmmeta(server) as m:
        m.files.insert(content_hash="x", path=path)
    (tmp_path / "out.txt").write_text("secret")
    result = run(
        "--metadir", "./victim", "--files-root", "./documents", "sync", "pull", "./hostile", "--documents", code=3
    )
    assert "is no place for a document" in result.stderr
    assert not (tmp_path / "documents").exists() or list((tmp_path / "documents").iterdir()) == []


def test_documents_come_from_a_web_server(server: Path, client: Path, tmp_path: Path) -> None:
    """With whatever is in their names."""
    from sync_places import Site

    name = "a b%20ü?#.txt"
    (server / name).write_text("text")
    with mmmeta(server) as m:
        m.files.insert(content_hash="372ea08cab33e71c02c651dbc83a474d32c676ea", path=name)
    from mmmeta.sync.documents import pull_documents

    with Site(server).running() as site:
        pull(client, site.url)
        with Metadir(client, tmp_path / "documents") as m:
            m.update()
            found = m.files.find(path=name)
            report = pull_documents(found, site.url, m.layout.files_root, m.config)
    assert (report.fetched, report.failures) == (1, ())
    assert (tmp_path / "documents" / name).read_text() == "text"
