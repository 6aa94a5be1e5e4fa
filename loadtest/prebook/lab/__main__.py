"""``python -m prebook.lab``, and by the name that `prebook load` gives it."""

import os

from prebook.lab.cli import main

if __name__ == "__main__":
    main(prog_name=os.environ.get("PREBOOK_PROGRAM_NAME", "python -m prebook.lab"))
