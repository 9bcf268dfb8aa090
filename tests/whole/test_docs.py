"""README and docs do what they say: every code block runs. CONTRIBUTING.md says how; ``docs_runner`` does it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import ROOT, DocumentError, blocks, outside_blocks, same, setup_of
from docs_runner import Runner

from examples.demo import archive
from mmmeta import Metadir, mmmeta

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md") if (ROOT / name).exists()),
    *sorted((ROOT / "docs").glob("**/*.md")),
]

CLONED = ("Makefile", "examples", "mmmeta.yaml", "workspace.yaml")
"""What of the repository the demo and Dagster need in its root."""


def prepare_documents(folder: Path) -> None:
    """``./server``: the demo's forty documents with their metadata files and a config.yml, not published yet."""
    from datetime import datetime, timezone

    (folder / "server" / "_mmmeta").mkdir(parents=True)
    (folder / "server" / "_mmmeta" / "config.yml").write_text(archive.CONFIG, encoding="utf-8")
    for document in archive.first_documents(datetime.now(timezone.utc).replace(tzinfo=None)):
        archive.write_document(folder / "server", document)


def prepare_published(folder: Path) -> None:
    """As ``documents``, generated; and ``./client`` with a copy of the metadir, not updated yet."""
    prepare_documents(folder)
    with mmmeta(folder / "server") as server:
        server.generate()
    shutil.copytree(
        folder / "server" / "_mmmeta", folder / "client" / "_mmmeta", ignore=shutil.ignore_patterns("local")
    )


def prepare_empty(folder: Path) -> None:
    """Nothing."""


PREPARATIONS: dict[str, Callable[[Path], None]] = {
    "documents": prepare_documents,
    "empty": prepare_empty,
    "published": prepare_published,
}
"""What a document finds; it asks with ``<!-- test: setup=… -->``, otherwise it gets ``published``."""


def stand_ins() -> dict[str, Any]:
    """What Python blocks may use as the reader's own code: a scraper's records, and two functions."""
    records = [
        {"foreign_id": f"scraped-{number}", "content_hash": f"{number:040x}", "title": f"Scraped {number}"}
        for number in range(3)
    ]
    return {"scraper": records, "download": lambda url: None, "process_import": lambda file: None}


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Callable[[], Path]:
    """Gives a copy of what the demo needs, made at the first call."""

    def make() -> Path:
        folder = tmp_path / "clone"
        if not folder.exists():
            folder.mkdir()
            for name in CLONED:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, folder / name)
        return folder

    return make


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_runs(path: Path, sandbox: Path, clone: Callable[[], Path]) -> None:
    """In order, in a folder of its own; output that is shown is what comes out."""
    text = path.read_text(encoding="utf-8")
    PREPARATIONS[setup_of(text) or "published"](sandbox)
    runner = Runner(str(path.relative_to(ROOT)), sandbox, clone)
    runner.namespace |= stand_ins()
    try:
        runner.run(text)
    finally:
        for value in runner.namespace.values():
            if isinstance(value, Metadir):
                value.close()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Pictures and other documents of the repository are there, and the headings that are linked to."""
    text = outside_blocks(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), f"{path.name}: {target}"
        if heading:
            assert heading in headings(linked.read_text(encoding="utf-8")), f"{path.name}: {target}"


def headings(text: str) -> set[str]:
    """The anchors of a document, as GitHub makes them."""
    found = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


# --- the runner itself: a test that cannot fail proves nothing ---------------------------------------------------------


def run(text: str, folder: Path) -> int:
    return Runner("doc.md", folder, lambda: folder).run(text)


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n\n"


@pytest.mark.parametrize(
    ("language", "text", "message"),
    [
        ("python", "x = 1\nx / 0", "doc.md:5: ZeroDivisionError"),
        ("python", "1 + 1  # → 3", "doc.md:4: shown:\n3\ngot:\n2"),
        ("python", "print('a')  # -> b", "got:\na"),
        ("python", "def f(:", "doc.md:4: SyntaxError"),
        ("python", "import warnings\nwarnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
        ("pycon", ">>> 1 + 1\n3", "Expected:"),
        ("console", "$ echo a\nb", "shown:\nb\ngot:\na"),
        ("console", "$ true\n$ false", "doc.md:5: $ false\nended with 1"),
        ("bash", "true\nexit 3", "ended with 3"),
        ("bash", "make nothing", "no target 'nothing'"),
        ("bash", 'pip install "mmmeta[dagster,nothing]"', "no extra 'nothing'"),
        ("yaml", "version: 1\nmetadirs: {a: {pth: .}}", "ProjectError"),
        ("yaml", "jobs:\n  j: {wher: {}}", "ProjectError"),
        ("yaml", "metadata: {uniqe: url}", "ConfigError"),
        ("json", "{a: 1}", "doc.md:4: "),
        ("pythn", "1", "the language 'pythn' is not known"),
    ],
)
def test_a_wrong_block_fails(language: str, text: str, message: str, sandbox: Path) -> None:
    """With file and line, and what was shown beside what came."""
    with pytest.raises(DocumentError) as caught:
        run("# Title\n\n" + fenced(language, text), sandbox)
    assert message in str(caught.value)


def test_blocks_of_a_document_are_one_story(sandbox: Path) -> None:
    """Names, variables, folders and files stay from block to block."""
    text = (
        fenced("python", "x = 20\nfrom pathlib import Path\nPath('sub').mkdir()")
        + fenced("yaml", "# sub/config.yaml\na: [1, 2]")
        + fenced("console", "$ cd sub\n$ export NAME='a b' OTHER=\\\n> c\n$ cat config.yaml\n# sub/config.yaml\na: […]")
        + fenced("python", "x + 1  # → 21\nprint(Path('sub/config.yaml').exists())  # → True\nx;  # not compared")
        + fenced("bash", 'test "$NAME" = "a b"\ntest "$OTHER" = c\nfor i in 1 2; do\n  echo $i >> numbers\ndone')
        + fenced("console", "$ cat numbers\n1\n2\n$ basename $PWD\nsub\n$ seq 9\n1\n…\n9")
        + fenced("python", "# package/module.py\ndef answer():\n    return 42")
        + fenced("python", "from package.module import answer\nprint(answer())")
        + "<!-- test: output -->\n"
        + fenced("text", "4…")
        + fenced("pycon", ">>> {'b': 1, 'a': answer()}\n{'b': 1, 'a': …}\n>>> y = 5")
        + fenced("python", "y  # → 5")
        + "<!-- test: exit=3 -->\n"
        + fenced("console", "$ exit 3")
        + "<!-- test: skip=it takes a day -->\n"
        + fenced("console", "$ sleep 86400")
        + fenced("mermaid", "graph")
        + "- in a list:\n  ```python\n  if x:\n      z = 1\n  ```\n"
    )
    assert run(text, sandbox) == 12
    assert "a: [1, 2]" in (sandbox / "sub" / "config.yaml").read_text()


def test_a_skipped_block_says_why(sandbox: Path) -> None:
    """And a directive without effect is not left unnoticed."""
    with pytest.raises(DocumentError, match="needs a reason"):
        run("<!-- test: skip -->\n" + fenced("bash", "false"), sandbox)
    with pytest.raises(DocumentError, match="does not end"):
        list(blocks("```python\n"))


def test_commands_do_not_see_the_developers_environment(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables nor the home folder."""
    monkeypatch.setenv("SECRET_OF_MINE", "x")
    run(fenced("bash", 'test -z "$SECRET_OF_MINE"\ntest "$HOME" = "$PWD/.home"'), sandbox)


def test_what_counts_as_the_same_output() -> None:
    """Spaces at the end and between columns do not matter; everything else does."""
    assert same("a  b\n c\n", "a b\nc")
    assert same("one\ntwo\nthree\n", "…\nthree")
    assert same("took 0.31 seconds", "took … seconds")
    assert not same("a\nb", "a")
    assert not same("a", "a\n…\nb")
    assert not same("took 3 minutes", "took … seconds")
    assert same("", "…")
