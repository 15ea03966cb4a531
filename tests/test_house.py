"""The house: three commands at the root, walls, and nothing longer than one can read. Rooms' walls are import-linter's
(pyproject.toml); it knows packages only, so those of the three commands stand here."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 350, 60

STRANGERS = {
    "app": {"engine", "torch", "subtitles", "tts_worker"},
    "tts_core": {"asyncio", "starlette", "uvicorn", "app", "server", "subtitles", "tts_worker"},
    "tts_worker": {"torch", "starlette", "uvicorn", "app", "tts_core", "speech", "engine", "server"},
}
"""What each command may not import, not even within a function."""


def sources() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True)
    for name in listed.stdout.decode().split():
        if (ROOT / name).exists():
            yield name, (ROOT / name).read_text()


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_three_commands_stand_at_the_root() -> None:
    assert {name for name, _ in sources() if "/" not in name} == {"app.py", "tts_core.py", "tts_worker.py"}


@pytest.mark.parametrize("command", STRANGERS)
def test_a_command_knows_its_own_rooms(command: str) -> None:
    assert not STRANGERS[command] & set(imported(ast.parse((ROOT / f"{command}.py").read_text())))


def test_no_file_and_no_function_is_longer_than_one_can_read() -> None:
    long = {}
    for name, source in sources():
        if source.count("\n") > MAX_FILE_LINES:
            long[name] = source.count("\n")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long[f"{name}: {node.name}"] = lines
    assert not long
