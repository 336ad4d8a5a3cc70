"""Four packages, arrows only downward: what keeps each half usable without the other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("worker_embed", "operator_embed", "screens", "console")
HEAVY = {"kubernetes", "pulsar", "sqlalchemy", "pynvml", "nats", "aiohttp", "uvicorn", "httpx", "yaml"}


def imports(file: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_downward(package: str) -> None:
    above = set(ORDER[ORDER.index(package) + 1 :]) | {"tests"}
    upward = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in sources(package)
        for module in imports(file)
        if module.partition(".")[0] in above
    ]
    assert upward == []


@pytest.mark.parametrize("package", ORDER[:-1])
def test_names_of_upper_packages_are_not_even_spelled(package: str) -> None:
    """A child process is started by whoever knows it: no argv of a lower package names an upper one."""
    above = ORDER[ORDER.index(package) + 1 :]
    spelled = [
        f"{file.relative_to(ROOT)} spells {name}."
        for file in sources(package)
        for name in above
        if re.search(rf"\b{name}\.\w|[\"']{name}[\"']", file.read_text())
    ]
    assert spelled == []


def test_screens_see_only_the_fleet() -> None:
    beyond = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in sources("screens")
        for module in imports(file)
        if module.partition(".")[0] in {"operator_embed", "worker_embed"}
        and not module.startswith("operator_embed.fleet")
    ]
    assert beyond == []


def test_the_api_node_stands_apart_from_the_rest_of_the_console() -> None:
    beyond = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in sources("console/gateway")
        for module in imports(file)
        if module.startswith("screens") or (module.startswith("console.") and not module.startswith("console.gateway"))
    ]
    assert beyond == []


def test_package_inits_are_empty() -> None:
    assert [
        str(file) for package in ORDER for file in sources(package) if file.name == "__init__.py" and file.read_text()
    ] == []


def test_no_two_modules_import_each_other() -> None:
    graph = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): set(imports(file))
        for package in ORDER
        for file in sources(package)
    }
    circles: list[str] = []

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            circles.append(" -> ".join((*path[path.index(module) :], module)))
        elif module not in done:
            for below in graph[module] & graph.keys():
                visit(below, (*path, module))
            done.add(module)

    done: set[str] = set()
    for module in graph:
        visit(module, ())
    assert circles == []


@pytest.mark.parametrize("module", ["operator_embed.fleet.fleet", "worker_embed.queue.port", "worker_embed.wire"])
def test_seams_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*({HEAVY | {'textual'}} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == ""
