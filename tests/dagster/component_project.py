"""A Dagster project with components, loaded into this process."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

TYPE = "type: mmmeta_dagster.MetadirComponent\n"

ARCHIVE = """
attributes:
  name: archive
  path: "{{ context.project_root }}/client"
  files_root: "{{ context.project_root }}/server"
  jobs:
    download_contracts:
      where: {document_type: contract}
      download: {to: "{{ context.project_root }}/downloads"}
"""


@dataclass
class Folder:
    """A Dagster project that is loaded into this process."""

    root: Path
    module: str

    @property
    def package(self) -> Path:
        return self.root / "src" / self.module

    def component(self, name: str, text: str) -> Path:
        """Write ``defs/<name>/defs.yaml``."""
        path = self.package / "defs" / name / "defs.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TYPE + textwrap.dedent(text))
        return path

    def load(self) -> dg.Definitions:
        return dg.load_from_defs_folder(path_within_project=self.package)

    def why_not(self) -> str:
        """All that is said where it does not load."""
        with pytest.raises(Exception, match=r"Error while (loading|building)") as caught:
            self.load()
        texts, error = [], caught.value
        while error is not None:
            texts.append(str(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(texts)


def specs_of(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
