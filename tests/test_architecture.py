"""The floors of the house: a module imports only from floors below, and from its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "toolkit"

# Most particular first. `docs/architecture.md` says what lives where.
FLOORS = [
    ("toolkit.wording", 0),
    ("toolkit.errors", 1),
    ("toolkit.arguments", 2),
    ("toolkit.deferred", 2),
    ("toolkit.names", 2),
    ("toolkit.text", 2),
    ("toolkit.dtypes", 2),
    ("toolkit.checksum", 2),
    ("toolkit.version", 1),
    ("toolkit.publish", 2),
    ("toolkit.staging", 2),
    ("toolkit.made_directories", 2),
    ("toolkit.units", 2),
    ("toolkit.urls", 2),
    ("toolkit.metadata", 2),
    ("toolkit.places", 2),
    ("toolkit.roles", 2),
    ("toolkit.selection", 2),
    ("toolkit.renaming", 2),
    ("toolkit.casting", 2),
    ("toolkit.initializers", 2),
    ("toolkit.checkpoint", 3),
    ("toolkit.chunks", 2),
    ("toolkit.formats", 4),
    ("toolkit.plan", 4),
    ("toolkit.look", 5),
    ("toolkit.change", 5),
    ("toolkit.graph", 6),
    ("toolkit.render", 6),
    ("toolkit.cli", 7),
    ("toolkit.__main__", 8),
    ("toolkit", 8),  # the public names, which come from every floor
]

THIRD_PARTY = {
    0: set(),
    1: set(),
    2: {"numpy", "ml_dtypes", "google_crc32c"},
    3: {"numpy"},
    4: {"numpy", "google", "h5py", "cramjam"},
    5: {"numpy"},
    6: {"numpy", "rich"},
    7: {"typer"},
    8: set(),
}


def floor_of(module: str) -> int:
    return next(floor for prefix, floor in FLOORS if module == prefix or module.startswith(prefix + "."))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path):
    """Yield each imported module, and whether at the top of the file (at run time)."""
    tree = ast.parse(path.read_text("utf-8"))
    checked_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in tree.body and node not in checked_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = PACKAGE.parent / node.module.replace(".", "/") / f"{alias.name}.py"
                is_module = inner.exists() or inner.with_suffix("").is_dir()
                name = f"{node.module}.{alias.name}" if is_module else node.module
                yield name, node in tree.body and node not in checked_only


FILES = sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_floors_below(path):
    module = module_of(path)
    if module == "toolkit":
        return  # the public names come from every floor, lazily
    floor = floor_of(module)
    for imported, _ in imports(path):
        if imported.split(".")[0] == "toolkit":
            same_folder = imported.rpartition(".")[0] == module.rpartition(".")[0]
            below = floor_of(imported) < floor
            same_place = module.split(".")[:2] == imported.split(".")[:2] or (same_folder and floor == 2)
            assert below or same_place, f"{module} (floor {floor}) imports {imported} ({floor_of(imported)})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_third_parties_are_let_in_on_their_floors_only(path):
    import sys

    module = module_of(path)
    if module == "toolkit":
        return
    allowed = set(THIRD_PARTY[floor_of(module)])
    if module.startswith("toolkit.graph"):
        allowed |= {"tensorflow"}
    if module == "toolkit.cli.graphs":
        allowed |= {"tensorflow"}  # to load it quietly
    for imported, _ in imports(path):
        top = imported.split(".")[0]
        if top != "toolkit" and top not in sys.stdlib_module_names:
            assert top in allowed, f"{module} imports {imported}"


def test_there_are_no_circles_between_modules():
    graph = {
        module_of(path): {name for name, at_top in imports(path) if at_top and name.startswith("toolkit.")}
        for path in FILES
        if path != PACKAGE / "__init__.py"
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for imported in graph.get(module, ()):
                visit(imported, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_every_module_opens_with_what_it_is():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_no_file_has_grown_past_its_idea():
    for path in FILES:
        assert path.name not in {"utils.py", "core.py", "common.py", "helpers.py"}
        assert len(path.read_text("utf-8").splitlines()) <= 400, path


def test_every_file_has_a_line_in_the_documentation():
    text = (PACKAGE.parent / "README.md").read_text("utf-8")
    for path in FILES:
        if path.name != "__init__.py" or path.parent == PACKAGE:
            assert f"`{path.relative_to(PACKAGE.parent)}`" in text, path


def test_the_floors_are_documented():
    page = (PACKAGE.parent / "docs/architecture.md").read_text("utf-8")
    floors = {int(n): places for n, places in re.findall(r"^\| (\d) \| ([^|]*) \|", page, re.MULTILINE)}
    for module, floor in FLOORS:
        name = module.removeprefix("toolkit.")
        if floor in floors:
            assert re.search(rf"`{name}(\.py|/)`", floors[floor]), f"{module} on floor {floor}"
