"""``python -m mmmeta`` is the command ``mmmeta``."""

from mmmeta.cli import main

if __name__ == "__main__":
    main(prog_name="mmmeta")
