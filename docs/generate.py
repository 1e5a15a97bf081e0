"""Put what `--help` says into `cli.md`, below its marker, and what docstrings say into `python.md`.

python docs/generate.py [--check]
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
MARKER = "<!-- What follows is written by docs/generate.py: change the code, not this. -->\n"
COMMANDS = (
    *("inspect", "init", "restore", "reinit", "edit", "merge", "average", "export", "import"),
    *("log", "latest", "prune", "repair"),
)


def help_of(*arguments: str) -> str:
    """Return what `ckpt … --help` prints on a terminal of 80 columns."""
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def commands() -> str:
    """Return what stands in `cli.md` below the marker."""
    program = f"\n```text\n{help_of()}```\n"
    return program + "".join(f"\n### ckpt {c}\n\n```text\n{help_of(c)}```\n" for c in COMMANDS)


def public_names() -> str:
    """Return what stands in `python.md` below the marker: signatures and docstrings, from the sources."""
    tree = ast.parse((HERE.parent / "toolkit/__init__.py").read_text("utf-8"))
    homes = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    return "".join(_described(name, home) for name, home in sorted(homes.items(), key=_functions_first))


def _functions_first(item: tuple[str, str]) -> tuple[bool, bool, str]:
    name, home = item
    return name[0].isupper(), home == "toolkit.errors", name


def _described(name: str, home: str) -> str:
    path = HERE.parent / (home.replace(".", "/") + ".py")
    body = ast.parse(path.read_text("utf-8")).body
    found = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name]
    node = found[-1]  # of overloads the function itself
    text = f"\n## {name}\n\n"
    if isinstance(node, ast.FunctionDef):
        return text + _signature(node) + _docstring(node)
    text += _docstring(node)
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            decorators = [ast.unparse(decorator) for decorator in member.decorator_list]
            if "overload" not in decorators and ast.get_docstring(member):
                is_property = any("property" in decorator for decorator in decorators)
                text += f"\n### {name}.{member.name}\n\n"
                text += ("" if is_property else _signature(member)) + _docstring(member)
    return text


def _signature(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args).removeprefix("self, ").removeprefix("self")
    line = f"{node.name}({arguments}) -> {ast.unparse(node.returns) if node.returns else 'None'}"
    folded = textwrap.fill(line, 100, subsequent_indent="    ", break_long_words=False)
    return f"```python\n{folded}\n```\n\n"


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    return f"```text\n{ast.get_docstring(node) or ''}\n```\n"


def main(check: bool) -> None:
    """Write the pages anew, or say that they should be."""
    for page, generated in ((HERE / "cli.md", commands), (HERE / "python.md", public_names)):
        text = page.read_text("utf-8")
        head, found, below = text.partition(MARKER)
        if not found:
            sys.exit(f"{page}: has no marker")
        now = generated()
        if check and below != now:
            sys.exit(f"{page}: differs from what the code says; run docs/generate.py")
        page.write_text(head + MARKER + now, "utf-8")


if __name__ == "__main__":
    main("--check" in sys.argv)
