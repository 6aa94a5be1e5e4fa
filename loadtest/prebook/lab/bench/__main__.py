"""``python -m prebook.lab.bench``."""

from prebook.lab.bench.command import main

if __name__ == "__main__":
    main(prog_name="prebook bench")
