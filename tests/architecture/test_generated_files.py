"""Files that follow from the model are committed as the model says."""

from click.testing import CliRunner

from prebook.cli.main import main


def test_no_generated_file_differs() -> None:
    done = CliRunner().invoke(main, ["generate", "--check"])
    assert done.exit_code == 0, f"{done.output}\nrun `make docs`, and commit what follows from the model"
