"""A nanoGPT-style Python configuration (plain assignments) → a contract. It is parsed, never executed.

nanoGPT's loop sets the learning rate from ``iter_num``: a warm-up, a cosine from learning_rate to min_lr, then min_lr.
Its warm-up was t/W at first and is (t + 1)/(W + 1) now; where the file has ``get_lr`` itself, that says which.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from lrwatch.errors import ContractError
from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._parts import Part, Schedule, part, positive, sequence
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_WORDS = ("learning_rate", "max_iters", "lr_decay_iters", "warmup_iters", "min_lr", "decay_lr")
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}  # fmt: skip
FORMS = ("t/W", "(t+1)/W", "(t+1)/(W+1)")


def _detect(source: Source) -> float:
    if source.path.suffix != ".py":
        return 0.0
    return min(1.0, sum(f"\n{word}" in f"\n{source.text}" for word in _WORDS) / 4)


def assignments(source: Source) -> dict[str, Any]:
    """Names that the top of a file assigns numbers, text, truth values or arithmetic of them; the last one wins."""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError) as e:
        raise ContractError(f"is not Python: {e}", source=source.name) from None
    found: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and statement.value:
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            value = _value(statement.value, found)
            found |= dict.fromkeys(names, value)
    return {name: value for name, value in found.items() if value is not None}


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """A constant expression, or None."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names.get(name)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            value = _value(inner, names)
            return -value if isinstance(value, (int, float)) else None
        case ast.BinOp(left=a, op=op, right=b) if type(op) in _OPERATORS:
            left, right = _value(a, names), _value(b, names)
            if (
                isinstance(left, (int, float))
                and isinstance(right, (int, float))
                and max(abs(left), abs(right)) < 2**53
            ):
                try:
                    return _OPERATORS[type(op)](left, right)
                except ZeroDivisionError:
                    return None
    return None


def _convert(source: Source, options: Options) -> Imported:
    config = Config(assignments(source), source, options.values)
    lr = options.lr if options.lr is not None else config.number("learning_rate")
    iters = options.steps - 1 if options.steps is not None else config.whole("max_iters")
    made = Schedule(positive(lr, source.name, "learning_rate"), _parts(config, options, source), "learning_rate")
    skips = config.get("dtype") == "float16"
    clock = Clock(
        counts=Noted("attempted", "dtype float16: iter_num goes on when the loss scaler skips an update")
        if skips
        else None,
        horizon=Noted(iters + 1, "max_iters, which is the last iter_num"),
    )
    title = experiment(options, config.get("wandb_run_name"), "wandb_run_name")
    return document(f"{source.name} (nanoGPT)", clock, {"lr": made}, experiment=title)


def _parts(config: Config, options: Options, source: Source) -> tuple[Part, ...]:
    if not config.flag("decay_lr", True):
        return (part("constant", "decay_lr = False"),)
    warmup = options.warmup if options.warmup is not None else config.whole("warmup_iters")
    end, low = config.number("lr_decay_iters"), config.number("min_lr")
    form = _form(config, source) if warmup else FORMS[0]
    offset = None if form == "t/W" else 1
    over = warmup + 1 if form == "(t+1)/(W+1)" else warmup
    up = part("linear", f"warm-up {form}, W = {warmup:g}", from_=0, offset=offset, over=over if offset else None,
              for_=warmup)  # fmt: skip
    down = part("cosine", "to min_lr at lr_decay_iters", to=low, for_=end - warmup)
    return sequence(up if warmup else None, down)


def _form(config: Config, source: Source) -> str:
    """Which warm-up: as ``--set warmup_form`` says, else as ``get_lr`` in the file does it."""
    said = config.values.get("warmup_form")
    if said is None:
        code = next((ast.unparse(node).replace(" ", "") for node in ast.walk(ast.parse(source.text))
                     if isinstance(node, ast.FunctionDef) and node.name == "get_lr"), "")  # fmt: skip
        if "(it+1)/(warmup_iters+1)" in code:
            return FORMS[2]
        if "(it+1)/warmup_iters" in code:
            return FORMS[1]
        if "it/warmup_iters" in code:
            return FORMS[0]
        why = "the warm-up of nanoGPT's train.py was t/W at first and is (t+1)/(W+1) now"
        said = source.need(None, "--set 'warmup_form=(t+1)/(W+1)', or t/W", why)
    text = str(said).replace(" ", "")
    if text not in FORMS:
        raise source.error(f"must be one of {', '.join(FORMS)}; got {said!r}", "warmup_form")
    return text


IMPORTER = Importer("nanogpt", "a Python file of assignments, as nanoGPT's config/*.py", _detect, _convert)
