"""How good the diagnosis is: random runs with and without a bug, made by real torch schedulers, judged one by one.

    python benchmarks/quality.py [--runs 300] [--seed 0] [--markdown]

Prints one row per bug and the totals: how many of the visible faults were detected, how often the named causes contain
the true one, how many causes were named on average (naming everything would not help), how often one cause was called
certain and was wrong, how far the first step found lies from the first visible one; and the false alarms on as many
runs without a bug. A fault smaller than the trace's precision cannot be seen; for it, silence is right.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.mutations.judge import Outcome, faulty, healthy


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure detection, causes and false alarms on random runs.")
    parser.add_argument("--runs", type=int, default=300, help="faulty runs, and as many healthy ones")
    parser.add_argument("--seed", type=int, default=0, help="number of the first run")
    parser.add_argument("--markdown", action="store_true", help="only the totals, as the README's table")
    options = parser.parse_args()

    seeds = range(options.seed, options.seed + options.runs)
    bugs = [o for s in seeds if (o := told(faulty(s), "faulty", s - options.seed + 1, options.runs))]
    fine = [o for s in seeds if (o := told(healthy(s), "healthy", s - options.seed + 1, options.runs))]
    if options.markdown:
        print("\n".join(totals(bugs, fine)))
        return 0
    by_bug: dict[str, list[Outcome]] = defaultdict(list)
    for o in bugs:
        by_bug[o.bug].append(o)
    print(f"{'bug':24}  runs  visible  detected  cause  named  wrong  first step")
    for name, outcomes in sorted(by_bug.items()):
        print(f"{name:24} {row(outcomes)}")
    print()
    print("\n".join(totals(bugs, fine)))
    return 0


def told(outcome: Outcome, kind: str, done: int, of: int) -> Outcome:
    if sys.stderr.isatty():
        print(f"\r{kind}: {done} of {of} ", end="\n" if done == of else "", file=sys.stderr, flush=True)
    return outcome


def row(outcomes: list[Outcome]) -> str:
    seen = [o for o in outcomes if o.visible]
    named = [o for o in seen if o.detected]
    size = sum(len(o.named) for o in named) / max(len(named), 1)
    worst = max((o.first_error for o in named), default=0)
    return (
        f"{len(outcomes):5} {len(seen):8} {sum(o.detected for o in seen):9} {sum(o.truth in o.named for o in named):6} "
        f"{size:6.2f} {sum(map(wrong, named)):6} {worst:11}"
    )


def wrong(o: Outcome) -> bool:
    """One cause was called certain, and it is not the true one."""
    return o.confident and bool(o.named) and o.truth not in o.named


def totals(bugs: list[Outcome], fine: list[Outcome]) -> list[str]:
    seen = [o for o in bugs if o.visible]
    found = [o for o in seen if o.detected]
    hidden = [o for o in bugs if o.hidden]
    right = sum(o.truth in o.named for o in found)
    alarms = sum(bool(o.result.findings) or o.result.verdict() != "pass" for o in fine)
    exact = sum(o.first_error == 0 for o in found)
    size = sum(len(o.named) for o in found) / max(len(found), 1)
    rows = [
        ("visible faults detected", f"{len(found)} of {len(seen)}"),
        ("true cause among the named", f"{right} of {len(found)} ({right / max(len(found), 1):.1%})"),
        ("causes named on average", f"{size:.2f}"),
        ("certain and wrong", f"{sum(map(wrong, found))}"),
        (
            "first bad step exact",
            f"{exact} of {len(found)}, at most {max((o.first_error for o in found), default=0)} off",
        ),
        ("faults below the trace's precision, silent", f"{sum(not o.detected for o in hidden)} of {len(hidden)}"),
        ("healthy runs with any finding", f"{alarms} of {len(fine)}"),
    ]
    return ["| measured on random runs | result |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


if __name__ == "__main__":
    sys.exit(main())
