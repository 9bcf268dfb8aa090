"""``mmmeta check``: proves that everything is as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.group import json_option, settings_options
from mmmeta.cli.targets import Target, act_on, find_targets

if TYPE_CHECKING:
    from mmmeta.jobs.check import CheckReport


@click.command("check")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Prove that the state db is what was merged, and that what jobs did is really there.

    Compares every cell with its fingerprint and their sum with the digest, the ledger's counts with its rows, and what
    the ledger calls done with the rows in the target and the documents in the download folder. It reads everything and
    changes nothing. The exit code is 3 when something is wrong.

    \b
    Examples:
      mmmeta check
      mmmeta --metadir archive check --json | jq -r '.named[].message'

    \b
    --json: {metadir, path, files, documents, unchecked: [job], problems,
      named: [{where, file, message}]}
    """
    from mmmeta.cli.output import echo_report
    from mmmeta.cli.progress import progress_bar

    def check(target: Target) -> int:
        with target.open() as metadir, progress_bar(f"{target.name}: ") as progress:
            report = metadir.check(progress=progress)
        if as_json:
            echo_report(target, report)
        else:
            _tell(target, report)
        return 3 if report.problems else 0

    act_on(ctx, find_targets(ctx), check)


def _tell(target: Target, report: CheckReport) -> None:
    from mmmeta.cli.output import draw_table, files_text, note, say

    found = (
        "no problems" if not report.problems else f"{report.problems:,} problem{'' if report.problems == 1 else 's'}"
    )
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
    if report.problems > len(report.named):
        note(f"  … and {report.problems - len(report.named):,} more")
