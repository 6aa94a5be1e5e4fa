"""``python -m loadtest``, and by the name that `prebook load` gives it."""

import os

from loadtest.cli import main
from prebook.cli.program import PROGRAM

if __name__ == "__main__":
    main(prog_name=os.environ.get(PROGRAM, "python -m loadtest"))
