"""The report as JUnit XML, which every CI system shows: one test case per check.

A check with findings at or above ``--fail-on`` is a failure, one that could not run is skipped, and one whose gap
leaves the verdict open (exit code 2) is an error. Lesser findings are output of the case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as xml

from lrwatch.findings import Finding
from lrwatch.report._page import clean
from lrwatch.report._words import capital, cause_words, where
from lrwatch.report.base import Look, ordered

if TYPE_CHECKING:
    from lrwatch.result import CheckRun
    from lrwatch.verify import Report


def render(report: Report, look: Look) -> str:
    """The report as an XML document."""
    result = report.result
    name = report.info.run or result.stats.run or ", ".join(report.info.paths)
    suite = xml.Element("testsuite", name=f"lrwatch {clean(name)}")
    gaps = {run.slug for run in result.gaps()} if look.open(report) else set()
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    for run in result.checks:
        findings = [f for f in ordered(result.findings) if f.slug == run.slug]
        outcome = _case(suite, run, findings, look, run.slug in gaps)
        if outcome:
            counts[outcome] += 1
    for key, value in {"tests": len(result.checks), **counts}.items():
        suite.set(key, str(value))
    root = xml.Element("testsuites", suite.attrib)
    root.append(suite)
    xml.indent(root)
    text = xml.tostring(root, encoding="unicode", xml_declaration=False)
    encoding = "UTF-8" if look.unicode else "US-ASCII"
    if not look.unicode:
        text = text.encode("ascii", "xmlcharrefreplace").decode()
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{text}\n'


def _case(suite: xml.Element, run: CheckRun, findings: list[Finding], look: Look, undecided: bool) -> str:
    """Adds the case of one check; what it counts as besides a test."""
    case = xml.SubElement(suite, "testcase", classname="lrwatch", name=f"{run.code} {run.slug}")
    grave = [f for f in findings if f.severity >= look.fail_on]
    lesser = [f for f in findings if f.severity < look.fail_on]
    outcome = ""
    if grave:
        outcome = "failures"
        failure = xml.SubElement(case, "failure", type=grave[0].slug, message=clean(_short(grave)))
        failure.text = "\n\n".join(_long(f) for f in grave) + "\n"
    elif undecided:
        outcome = "errors"
        xml.SubElement(case, "error", type="inconclusive", message=clean(run.why or "could not be checked"))
    elif run.status != "ran":
        outcome = "skipped"
        xml.SubElement(case, "skipped", message=clean(run.why))
    said = [*(_long(f) for f in lesser), *([f"In part: {clean(run.why)}"] if run.why and run.status == "ran" else [])]
    if said:
        xml.SubElement(case, "system-out").text = "\n\n".join(said) + "\n"
    return outcome


def _short(findings: list[Finding]) -> str:
    """The gravest finding in one line."""
    first, cause = findings[0], findings[0].cause
    if cause is None or cause.name == "unexplained":
        said = capital(first.message)
    else:
        since = "" if first.first_step is None else f"; first bad step {first.first_step}"
        said = capital(cause.sentence) + since
    return said + (f" (and {len(findings) - 1} more)" if len(findings) > 1 else "")


def _long(f: Finding) -> str:
    """Everything a finding says, a line each."""
    cause = f.cause
    lines = [f"{f.severity} {f.code} {f.slug}: {' · '.join(where(f))}", capital(f.message) + "."]
    if cause is not None:
        lines.append(f"Cause: {cause_words(cause)}")
        lines += [f"Or: {capital(other)}." for other in cause.also_consistent]
        lines += [f"Missing: {capital(what)}." for what in cause.missing_evidence]
    if f.fix:
        lines.append(f"Fix: {capital(f.fix)}.")
    return "\n".join(clean(line) for line in [*lines, f"Page: lrwatch explain {f.slug}"])
