"""Page of the experiments: one offline HTML file with the sections of the talk and the last run of each experiment."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from prebook.devstack.errors import UserError
from prebook.lab.experiments.console import laws_table
from prebook.lab.experiments.experiment import SECTION_TITLES, Experiment, ResultTable, Section
from prebook.lab.experiments.result import PASSING, ExperimentResult
from prebook.lab.experiments.result_files import read_results
from prebook.lab.report.markup import Markup, join_markup, tag
from prebook.lab.report.writer import replace_file
from prebook.topology.diagrams import svg_diagram

PAGE_FILE = "index.html"
HEADLINE = "Each claim, its law, and the wrong way that violates it"


def write_page(folder: Path, experiments: Sequence[Experiment[Any]], output: Path | None = None) -> Path:
    """Write the page about the results in ``folder`` to ``output``, by default into the folder; return its path.

    Raises:
        UserError: The folder holds no result, or a file that is none.
    """
    results = {result.name: result for result in read_results(folder)}
    if not any(each.name in results for each in experiments):
        raise UserError(f"{folder} holds no result of an experiment", "run `prebook lab all --quick` first")
    path = output or folder / PAGE_FILE
    replace_file(path, page(experiments, results).encode())
    return path


def page(experiments: Sequence[Experiment[Any]], results: Mapping[str, ExperimentResult]) -> str:
    """Return the page. An experiment without a run has no row."""
    assets = resources.files("prebook.lab.report") / "assets"
    rows = [(each, results[each.name]) for each in experiments if each.name in results]
    sections = [section_of(section, [row for row in rows if row[0].section is section]) for section in Section]
    body = join_markup([masthead(rows, len(experiments)), *sections])
    style, frame = ((assets / name).read_text() for name in ("report.css", "page.html"))
    return Template(frame).substitute(style=style, title=tag("title", "Prebook experiments"), body=body)


def masthead(rows: Sequence[tuple[Experiment[Any], ExperimentResult]], registered: int) -> Markup:
    """Return the header: how many experiments have a run, and how many of those passed."""
    passed = sum(result.status in PASSING for _, result in rows)
    badge = tag("p", f"{passed} of {len(rows)} passed", class_=f"badge {'ok' if passed == len(rows) else 'bad'}")
    text = tag("p", f"{len(rows)} of {registered} experiments have a run.", class_="expect")
    return tag("header", tag("p", "Prebook experiments", class_="over"), badge, tag("h1", HEADLINE), text)


def section_of(section: Section, rows: Sequence[tuple[Experiment[Any], ExperimentResult]]) -> Markup | str:
    """Return a section with its rows; empty if it has none."""
    if not rows:
        return ""
    return tag("section", tag("h2", SECTION_TITLES[section]), *(row(*each) for each in rows), id=section)


def row(experiment: Experiment[Any], result: ExperimentResult) -> Markup:
    """Return the row of one experiment: claim, drawing, numbers, and how to repeat the run."""
    ok = result.status in PASSING
    status = tag("p", result.status.replace("_", " "), class_=f"badge {'ok' if ok else 'bad'}")
    described = f"{', '.join(result.claims)}. {experiment.pattern} {experiment.code}".strip()
    return tag(
        "article",
        tag("h3", f"{result.name}: {result.claim}"),
        status,
        tag("p", f"{described}. Wrong way: {result.wrong_way}. {result.expected}", class_="expect"),
        drawing(experiment),
        tag("p", "; ".join(result.problems), class_="callout bad") if result.problems else "",
        table(laws_table(result.checks)) if result.checks else "",
        *(table(each) for each in result.tables),
        *(picture(each.svg, each.title) for each in result.pictures),
        facts(result),
        id=result.name,
    )


def drawing(experiment: Experiment[Any]) -> Markup | str:
    """Return the drawing of the experiment's topology, as an image; empty if its topology has no arrows."""
    arrows = experiment.topology.arrows
    if not arrows:
        return ""
    order = sorted({arrow.swimlane for arrow in arrows})
    svg = svg_diagram(experiment.topology, title=experiment.name, subtitle=experiment.varies, order=order)
    return picture(svg, f"Topology of {experiment.name}: {', '.join(order)}")


def picture(svg: str, title: str) -> Markup:
    """Return an image, which holds the SVG document: it runs no script, and loads nothing."""
    source = f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
    return tag("img", src=source, alt=title, class_="chart")


def facts(result: ExperimentResult) -> Markup:
    """Return when, where and on which commit the experiment ran, and the command that repeats it."""
    machine = result.machine
    values = {
        "command": result.command,
        "run": f"{result.started_at:%Y-%m-%d %H:%M} UTC, {result.seconds:g} s, seed {result.seed}",
        "commit": result.commit,
        "machine": f"{machine.cores} cores of {machine.cpu_model}, load {machine.load_average:g}, {machine.system}",
        "stack": ", ".join(result.stack.values()),
    }
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items()], class_="facts")


def table(content: ResultTable) -> Markup:
    """Return a table."""
    head = tag("thead", tag("tr", [tag("th", name) for name in content.columns]))
    body = tag("tbody", [table_row(cells) for cells in content.rows])
    caption = tag("caption", f"{content.title}. {content.caption}" if content.caption else content.title)
    return tag("div", tag("table", caption, head, body), class_="scroll")


def table_row(cells: Iterable[str]) -> Markup:
    """Return one row of a table."""
    return tag("tr", [tag("td", cell) for cell in cells])
