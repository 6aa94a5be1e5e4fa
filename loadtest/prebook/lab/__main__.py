"""Entry point of ``python -m prebook.lab``."""

from prebook.lab.cli import main

if __name__ == "__main__":
    main(prog_name="python -m prebook.lab")
