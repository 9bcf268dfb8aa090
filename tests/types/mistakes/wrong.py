"""What people mistype: each line that ends with ``# wrong`` is told by a type checker, and no other."""

from mmmeta import File, MetadirConfig, load_project, mmmeta
from mmmeta_dagster import build_definitions, mmmeta_asset

archive = load_project("mmmeta.yaml").metadirs["archive"]
m = mmmeta("./client")

m.files.find_one(title="x")["title"]  # wrong
m.files.count(imported=True).title  # wrong
m.update(replce=True)  # wrong
m.generate("./elsewhere")  # wrong
m.store["seen"] = ["a", "list"]  # wrong
m.job("import", where={"a": 1}, attemps=3)  # wrong, which ty does not know yet
m.job("import", rerun_on="contents")  # wrong
m.job("import", backoff=["5m"])  # wrong
report = m.job("import").run(limit="3")  # wrong
print(report.succeeded)  # wrong

MetadirConfig(name="archive", path="/data", sate="/data/state.db")  # wrong, which ty does not know yet
MetadirConfig(path="/data")  # wrong


@mmmeta_asset(metadir=archive, attempts="3")  # wrong
def text_for_a_number(file: File) -> None: ...


@mmmeta_asset(metadir=archive, grup="letters")  # wrong, which ty does not know yet
def unknown_word(file: File) -> None: ...


@mmmeta_asset(where={"a": 1})
def unbound(file: File) -> None:
    file.sav()  # wrong
    print(file.claim.attempt)  # wrong


build_definitions(metadirs={"archive": archive}, assets=[unbound])  # wrong
build_definitions(archive)  # wrong
