"""The wheel is what users install: it holds every module and asset, and runs from anywhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import importlib, json, sys
sys.path[:0] = [{wheel!r}, {libraries!r}]
failed = {{}}
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
from prebook.runtime import paths
origins = sorted({{module.__file__ for name, module in sys.modules.items()
    if name.split(".")[0] in ("prebook",) and getattr(module, "__file__", None)}})
print(json.dumps({{"failed": failed, "origins": origins,
    "assets": [str(paths.migrations_dir()), str(paths.couplings_file())]}}))
"""
LIBRARIES = sysconfig.get_paths()["purelib"]
EXAMPLE = ROOT / "tests" / "testing" / "example_project"
RUN_TESTS = """
import sys
sys.path[:0] = [{wheel!r}, {libraries!r}, {project!r}]
import pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin"])
import prebook.testing.world
assert prebook.testing.world.__file__.startswith({wheel!r}), prebook.testing.world.__file__
sys.exit(status)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this tree, and return the folder with its files."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, timeout=110, check=False)
    assert built.returncode == 0, built.stderr
    (archive,) = folder.glob("prebook-*.whl")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder / "unpacked")
    return folder / "unpacked"


def modules() -> list[str]:
    found = [
        path.relative_to(ROOT / root).with_suffix("")
        for root in ("services", "shared", "loadtest")
        for path in (ROOT / root / "prebook").rglob("*.py")
    ]
    names = (".".join(path.parts).removesuffix(".__init__") for path in found if path.name != "__main__")
    return sorted(names)


def run_isolated(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program without site, so that an editable install of this tree cannot supply a missing file."""
    return subprocess.run(
        [sys.executable, "-B", "-S", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    )


def test_the_wheel_contains_every_module_and_each_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    ran = run_isolated(PROBE.format(wheel=str(wheel), libraries=LIBRARIES, modules=modules()), tmp_path)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)

    assert said["failed"] == {}
    assert [origin for origin in said["origins"] if not origin.startswith(str(wheel))] == []
    for asset in said["assets"]:
        assert asset.startswith(str(wheel))
        assert Path(asset).exists()


def test_the_wheel_contains_the_migrations_and_the_assets_of_the_campaign(wheel: Path) -> None:
    names = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}

    assert "prebook/assets/migrations/alembic.ini" in names
    assert "prebook/assets/migrations/versions/booking_0001_baseline.py" in names
    assert "prebook/assets/migrations/ddl/messaging.sql" in names
    assert "prebook/lab/report/assets/report.schema.json" in names
    assert not [name for name in names if name.endswith(".pyc")]
    assert "prebook/__init__.py" not in names


def test_another_project_can_test_its_services_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    project = shutil.copytree(EXAMPLE, tmp_path / "loyalty")
    program = RUN_TESTS.format(wheel=str(wheel), libraries=LIBRARIES, project=str(project))
    ran = run_isolated(program, project)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "6 passed" in ran.stdout
