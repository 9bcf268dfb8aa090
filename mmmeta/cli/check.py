"""``mmmeta check``: proves that everything is as it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import json_option, limit_option, row_limit, settings_options
from mmmeta.cli.output import count_text, echo_report, files_text, note, rest_text, say
from mmmeta.cli.problems import DONE, WITH_PROBLEMS, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_targets

if TYPE_CHECKING:
    from mmmeta.jobs.check import CheckReport


@click.command("check")
@limit_option("problems named")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, limit: int | None, as_json: bool) -> None:
    """Prove that the state db is what was merged, and that what jobs did is really there.

    Compares every cell with its fingerprint and their sum with the digest, the ledger's counts with its rows, and what
    the ledger calls done with the rows in the target and the documents in the download folder. It reads everything and
    changes nothing. The exit code is 3 when something is wrong. All problems are counted, and the first 1,000 kept; a
    table names 50 unless --limit is given.

    \b
    Examples:
      mmmeta check
      mmmeta --metadir archive check --json | jq -r '.named[].message'

    \b
    --json: {metadir, path, files, documents, unchecked: [job], problems,
      named: [{where, file, message}]}
    """

    def check(target: Target) -> int:
        with target.open() as metadir, progress_bar(f"{target.name}: ") as progress:
            report = metadir.check(progress=progress)
        report = replace(report, named=report.named[: row_limit(limit, as_json)])
        if as_json:
            echo_report(target, report)
        else:
            _tell(target, report)
        return WITH_PROBLEMS if report.problems else DONE

    act_on(ctx, find_targets(ctx), check)


def _tell(target: Target, report: CheckReport) -> None:
    found = count_text(report.problems, "problem") if report.problems else "no problems"
    say(
        f"{target.name}: {found}: compared the cells of {files_text(report.files)}, looked for what jobs did with "
        f"{report.documents:,}"
    )
    if report.unchecked:
        note(f"  nobody knows where to look for what these did: {', '.join(report.unchecked)}")
    if report.named:
        draw_table(
            ["where", "file", "problem"],
            [[problem.where, problem.file or "", problem.message] for problem in report.named],
            below=["problem"],
        )
    if rest := rest_text(len(report.named), report.problems):
        note(f"  {rest}")
