"""The action ``command``: a program, run once for each file."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from mmmeta.config.model import Config
from mmmeta.documents.local import allowed_path
from mmmeta.documents.source import is_local
from mmmeta.errors import CommandError, DownloadError, JobError, MmmetaError
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import Action, claim_of, file_failed, undone_here
from mmmeta.jobs.actions.arguments import check_defaults, fill_arguments, is_plain
from mmmeta.jobs.actions.document import source_of
from mmmeta.layout import Layout
from mmmeta.masking import shown
from mmmeta.program import Ended, run_program
from mmmeta.project.actions import CommandAction
from mmmeta.quantities import format_duration
from mmmeta.state.ledger.outcomes import ERROR_LINES, Outcome
from mmmeta.values import json_text

COMMAND_FAILED = "CommandFailed"
"""An error's type: the program ran and said that it failed."""


class Command(Action):
    """Runs a program with each file; an exit code other than 0 is the file's failure.

    The program gets the environment of the run and ``MMMETA_FILE`` (the file's unique value), ``MMMETA_JOB``,
    ``MMMETA_RUN_ID`` where the run has an id, ``MMMETA_DELETED=1`` where the file was deleted and is to be undone, and the
    values that the job names in ``environment``.

    Args:
        timeout: seconds for one file; None for any time.

    Raises:
        JobError: a default of an argument cannot stand where it does.
    """

    batched = False
    keeps_time = True

    def __init__(
        self,
        action: CommandAction,
        config: Config,
        layout: Layout,
        job: str,
        timeout: float | None = None,
        run_id: str | None = None,
    ) -> None:
        try:
            check_defaults(action.run, unsafe=action.unsafe)
        except CommandError as error:
            raise JobError(f"job {job!r}: {error}") from None
        self._action = action
        self._run = action.run
        self._folder = action.folder
        self._config = config
        self._layout = layout
        self._job = job
        self._timeout = timeout
        self._run_id = run_id
        self._stopped = threading.Event()
        self._program: str | None = None

    def process(self, files: Sequence[File]) -> list[Outcome]:
        program = self._find_program()
        outcomes = [self._do(program, file) for file in files]
        return [outcome for outcome in outcomes if outcome is not None]

    def retract(self, files: Sequence[File]) -> list[Outcome]:
        return undone_here(self.process(files))

    def interrupt(self) -> None:
        self._stopped.set()

    def _find_program(self) -> str:
        """The program's path: by PATH, or below the folder where it has a slash. Without it no file can succeed, so
        the run ends and uses up nobody's attempts."""
        if self._program is None:
            name = os.path.expanduser(self._run[0])
            path = shutil.which(os.path.join(self._folder, name) if "/" in name else name)
            if path is None:
                where = f"as an executable in {self._folder}" if "/" in name else "in PATH"
                raise JobError(
                    f"job {self._job!r}: the program {name!r} was not found {where}. Install it, or mend run:"
                )
            if not os.path.isdir(self._folder):
                raise JobError(
                    f"job {self._job!r}: there is no folder {self._folder} to run in. Make it, or mend folder:"
                )
            self._program = os.path.abspath(path)
        return self._program

    def _do(self, program: str, file: File) -> Outcome | None:
        """How a file ended; None where the run was stopped meanwhile."""
        try:
            with ExitStack() as stack:
                arguments = fill_arguments(
                    self._run, file.get, lambda: stack.enter_context(self._document(file)), unsafe=self._action.unsafe
                )
                ended = run_program(
                    [program, *arguments[1:]],
                    folder=self._folder,
                    environment=self._environment(file),
                    timeout=self._timeout,
                    stopped=self._stopped,
                )
        except MmmetaError as error:
            return file_failed(claim_of(file), error)
        except (OSError, ValueError) as error:
            trouble = CommandError(f"{program} cannot be started: {error}")
            trouble.__cause__ = error
            return file_failed(claim_of(file), trouble)
        return None if ended.stopped else self._outcome(file, ended)

    @contextmanager
    def _document(self, file: File) -> Iterator[str]:
        """The local path of a file's document; one that was deleted need not be there any more.

        Where its name has characters in it that a shell would act upon, it is that of a link with a plain name, which is
        there while the program runs.
        """
        source = source_of(file, self._config, self._layout)
        if not is_local(source):
            raise DownloadError(
                f"{shown(source)}: is not on this machine, so there is no {{__path}}. Download it by a job before "
                "this one, and name it as that job does: ./downloads/{_file_name}"
            )
        path = allowed_path(source, [self._layout.files_root])
        if not claim_of(file).retract and not path.is_file():
            raise DownloadError(f"{path}: is not there, or no file")
        if is_plain(str(path)) or self._action.unsafe:
            yield str(path)
            return
        with TemporaryDirectory(prefix="mmmeta-") as folder:
            name = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
            link = os.path.join(folder, name + (path.suffix if re.fullmatch(r"\.\w{1,10}", path.suffix) else ""))
            os.symlink(path, link)
            yield link

    def _environment(self, file: File) -> dict[str, str]:
        own = {"MMMETA_FILE": file.unique_value, "MMMETA_JOB": self._job, "MMMETA_RUN_ID": self._run_id}
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key not in (*own, "MMMETA_DELETED", *self._action.variables)
        }
        deleted = {"MMMETA_DELETED": "1"} if claim_of(file).retract else {}
        asked = {
            name: _as_text(value)
            for name, key in self._action.variables.items()
            if (value := file.get(key)) is not None
        }
        return {**inherited, **{key: value for key, value in own.items() if value is not None}, **deleted, **asked}

    def _outcome(self, file: File, ended: Ended) -> Outcome:
        lines = ended.stderr[-ERROR_LINES:]
        if ended.late:
            limit = format_duration(self._timeout or 0)
            return Outcome(
                claim_of(file), "TimeoutError", f"took longer than {limit}, the job's timeout, and was ended", lines
            )
        if ended.code == 0:
            return Outcome(claim_of(file))
        last = next((line.strip() for line in reversed(lines.splitlines()) if line.strip()), "")
        how = f"exit code {ended.code}" if ended.code > 0 else f"ended by signal {_signal(-ended.code)}"
        return Outcome(
            claim_of(file), COMMAND_FAILED, f"{how}: {last}" if last else f"{how}, and nothing on stderr", lines
        )


def _as_text(value: Any) -> str:
    """A value for the environment, whole as it is: text as such, everything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
