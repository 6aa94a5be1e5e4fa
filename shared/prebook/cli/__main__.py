"""``python -m prebook.cli``: the command line where `prebook` is not on the PATH."""

from prebook.cli.main import main

if __name__ == "__main__":
    main(prog_name="prebook")
