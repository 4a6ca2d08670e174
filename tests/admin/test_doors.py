"""The admin is a door: it reads, and it calls ``api``. Its code is read to prove it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import django_workflows

PACKAGE = Path(django_workflows.__file__).parent
FILES = [path for folder in ("admin", "inspection") for path in sorted((PACKAGE / folder).glob("*.py"))]
TEMPLATES = sorted((PACKAGE / "templates/admin/django_workflows").glob("*.html"))
#: how Django writes, and what a writer holds while it does
WRITES = {
    "save", "delete", "create", "get_or_create", "update_or_create", "bulk_create", "bulk_update",
    "select_for_update", "atomic", "acreate", "asave", "adelete",
}  # fmt: skip


def writes(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, receiver = node.func.attr, ast.unparse(node.func.value)
            on_rows = name == "update" and ("objects" in receiver or "filter(" in receiver)
            if name in WRITES or on_rows:
                found.append(f"line {node.lineno}: {receiver}.{name}()")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_file_of_the_admin_writes(path: Path) -> None:
    assert writes(ast.parse(path.read_text())) == []


def test_a_write_would_be_seen() -> None:
    code = "Run.objects.filter(pk=1).update(status='x'); run.save(); counts.update({}); transaction.atomic()"
    assert len(writes(ast.parse(code))) == 3


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_style_or_script(path: Path) -> None:
    text = path.read_text()
    assert "style=" not in text
    assert "<style" not in text
    assert "<script" not in text
    assert " on" + "click" not in text
    assert "|safe" not in text
