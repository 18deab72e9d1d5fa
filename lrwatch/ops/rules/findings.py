"""What the process knows: one rule per severity of a finding. First step, cause and ranks are asked for in the
annotation: as labels they would change while the alert fires, and each change would be another alert."""

from __future__ import annotations

from lrwatch.ops.rules.base import RUN, Alert, AlertSeverity, Group

_WHERE = "{run_id=%q,code=%q}"
_ARGS = "$labels.run_id $labels.code | query"

DESCRIPTION = (
    "Run {{ $labels.run_id }}"
    '{{ with printf "last_over_time(lrwatch_run_info{run_id=%q}[10m])" $labels.run_id | query }}'
    ' of experiment {{ . | first | label "experiment" }}{{ end }}'
    " has finding {{ $labels.code }}"
    f'{{{{ with printf "min(last_over_time(lrwatch_finding_first_step{_WHERE}[10m]))" {_ARGS} }}}}'
    ', first at step {{ . | first | value | printf "%.0f" }}{{ end }}'
    f'{{{{ with printf "last_over_time(lrwatch_finding_cause_info{_WHERE}[10m])" {_ARGS} }}}}'
    ', likely cause {{ . | first | label "cause" }}{{ end }}'
    f'{{{{ with printf "count by (rank) (max_over_time(lrwatch_finding_active{_WHERE}[10m]) > 0)" {_ARGS} }}}}'
    ", on {{ len . }} worker{{ if gt (len .) 1 }}s{{ end }} (rank"
    '{{ range $i, $r := sortByLabel "rank" . }}{{ if lt $i 4 }} {{ $r.Labels.rank }}{{ end }}{{ end }}'
    "{{ if gt (len .) 4 }} …{{ end }}){{ end }}."
)


def _rule(finding: str, severity: AlertSeverity, summary: str) -> Alert:
    return Alert(
        f"LrwatchFinding{finding.capitalize()}",
        severity,
        f'max by ({RUN}, code) (max_over_time(lrwatch_finding_active{{severity="{finding}"}}[<scrape_gap>])) > 0',
        summary,
        DESCRIPTION,
        wait=f"finding_{finding}_for",
        runbook="{{ $labels.code }}",
    )


GROUP = Group(
    "lrwatch.findings",
    "What the engine beside the trainer has found: drift, non-finite values, divergence and all other checks.",
    (
        _rule("error", "critical", "A training run broke its contract or cannot succeed any more."),
        _rule("warning", "warning", "A training run needs somebody to look at it today."),
        _rule("info", "info", "Something about a training run is worth knowing."),
    ),
)
