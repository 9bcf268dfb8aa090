"""run --exclusive: one run at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from cli_support import PROJECT, command, wait_for


def test_exclusive_refuses_to_start_beside_another(project: Path, tmp_path: Path) -> None:
    """Whoever runs, exclusive or not; when it is over, it starts."""
    (tmp_path / "cli_waits.py").write_text(
        "import os, pathlib, time\ndef waits(file):\n    open(os.environ['SEEN'], 'a').close()\n"
        "    deadline = time.monotonic() + 120\n"
        "    while not pathlib.Path('go').exists() and time.monotonic() < deadline:\n        time.sleep(0.02)\n"
    )
    project.write_text(
        PROJECT.split("      contracts:")[0] + '      waits:\n        call: {function: "cli_waits:waits"}\n'
    )
    for options in ((), ("--exclusive",)):
        for name in ("seen", "go"):
            (tmp_path / name).unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "client" / "_mmmeta" / "local", ignore_errors=True)
        with subprocess.Popen([sys.executable, "-m", "mmmeta", "run", *options], stdout=subprocess.PIPE) as running:
            wait_for((tmp_path / "seen").exists)
            refused = command("run", "--exclusive")
            (tmp_path / "go").touch()
            assert running.wait(60) == 0
        assert refused.returncode == 1
        assert "Another run is at work" in refused.stderr
        assert command("run", "--exclusive").returncode == 0
