"""Every clause of every alert is there for a reason: without it, a promtool test fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from tests.ops.rules import ALERTS, alerts, cases, rendered


def weakened(expr: str) -> Iterator[str]:
    """The expression without one of its ``and``, ``or`` and ``unless`` clauses, each in turn."""
    whole = promql_parser.parse(expr)

    def clauses(node: object) -> Iterator[promql_parser.BinaryExpr]:
        if isinstance(node, promql_parser.BinaryExpr):
            if str(node.op) in ("and", "or", "unless"):
                yield node
            yield from clauses(node.lhs)
            yield from clauses(node.rhs)
        elif isinstance(node, promql_parser.Call):
            for argument in node.args:
                yield from clauses(argument)
        elif isinstance(node, (promql_parser.AggregateExpr, promql_parser.ParenExpr)):
            yield from clauses(node.expr)

    for clause in clauses(whole):
        yield str(whole).replace(str(clause), str(clause.lhs), 1)


MUTANTS = [
    pytest.param(name, mutant, id=f"{name}-{i}")
    for name, rule in alerts().items()
    for i, mutant in enumerate(weakened(rule["expr"]))
]


@pytest.mark.long
@pytest.mark.parametrize(("alert", "mutant"), MUTANTS)
def test_no_clause_can_be_left_out(tmp_path: Path, tool: Callable[[str], str], alert: str, mutant: str) -> None:
    for name, rules in rendered().items():
        changed = [{**rule, "expr": mutant} if rule.get("alert") == alert else rule for rule in rules]
        (tmp_path / name).write_text(yaml.safe_dump({"groups": [{"name": name, "rules": changed}]}))
    (tmp_path / "tests").mkdir()
    for file in {case.file for case in cases() if case.alert == alert}:
        text = (ALERTS / "tests" / file).read_text().replace("../rules", str(tmp_path))
        (tmp_path / "tests" / file).write_text(text)
    tests = [str(path) for path in (tmp_path / "tests").glob("*.yml")]
    done = subprocess.run([tool("promtool"), "test", "rules", *tests], capture_output=True, text=True)
    assert done.returncode == 1, f"no test fails with\n{mutant}"
