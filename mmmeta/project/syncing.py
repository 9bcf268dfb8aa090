"""What a project file says of syncing: where a metadir is pulled from and pushed to, or which program does it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mmmeta.config.validation import InnerError
from mmmeta.project.actions import arguments_of, placeholders_in
from mmmeta.project.base import Model
from mmmeta.project.fields import FolderPath, RemoteBase, Where

PATH = "path"
"""Placeholder of a command for the base path, the folder that holds ``_mmmeta``."""


def _check_arguments(run: list[str]) -> list[str]:
    if not run or not run[0].strip():
        raise ValueError('is empty. Name a program and its arguments: [rclone, copy, "bucket:archive", "{path}"]')
    for index, argument in enumerate(run):
        if "\0" in argument:
            raise InnerError("an argument cannot have a NUL in it", (index,))
        for key in placeholders_in(argument, index):
            if key != PATH:
                reason = f"{{{key}}} is not known. There is {{{PATH}}}, the folder that holds _mmmeta"
                raise InnerError(reason, (index,))
        if f"{{{PATH}|" in argument:
            raise InnerError(f"{{{PATH}}} has no default: it is always there", (index,))
    return run


SyncArguments = Annotated[
    list[str],
    BeforeValidator(arguments_of),
    AfterValidator(_check_arguments),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]


class SyncConfig(Model):
    """How a metadir is synced by mmmeta itself; whoever has a sync tool needs none of it."""

    pull: Annotated[
        RemoteBase | None,
        Field(description="the remote's base path, as path or fsspec URL, from which it is pulled", repr=False),
    ] = None
    push: Annotated[
        RemoteBase | None, Field(description="the base path elsewhere to which it is pushed, likewise", repr=False)
    ] = None
    command: Annotated[
        SyncArguments | None,
        Field(
            description="program and arguments that pull it, in place of pull; {path} is the folder that holds _mmmeta"
        ),
    ] = None
    push_command: Annotated[
        SyncArguments | None, Field(description="program and arguments that push it, in place of push")
    ] = None
    folder: Annotated[
        FolderPath, Field(description="where a command runs; the project file's folder", validate_default=True)
    ] = "."
    documents: Annotated[
        Where | None, Field(description="documents of which files a pull brings as well; {} for all files")
    ] = None

    @model_validator(mode="after")
    def _check(self) -> SyncConfig:
        for place, command in (("pull", "command"), ("push", "push_command")):
            if getattr(self, place) is not None and getattr(self, command) is not None:
                raise InnerError(f"{place} is given as well: say only one of them", (command,))
        return self
