"""Rules, alerts and dashboards name only what there is. Asks nobody and starts nothing.

check.py [--metrics docs/metrics.md] [--self-test]
"""

import argparse
import re
import sys
from pathlib import Path

import dashboards
import metrics
import rules
from expressions import Known, Mistake

ROOT = Path(__file__).resolve().parents[2]
RULES = ["docker/prometheus/recording.yml", "docker/prometheus/alerts.yml"]
DASHBOARDS = ROOT / "docker/grafana/dashboards"
RUNBOOK = "docs/runbook.md"
ERRORS = "docs/errors.md"
# The labels of ALERTS, besides those of each alert.
OF_ALERTS = {"alertname", "alertstate"}


class Report:
    def __init__(self):
        self.mistakes, self.looked_at = [], 0

    def wrong(self, where, what):
        self.mistakes.append(f"{where}: {what}")


def learn_rules(known, all_rules, report):
    """Checks each rule, and makes what it records known to those that come after."""
    alerts = set(OF_ALERTS)
    # A rule may use what stands further down: each round learns some, until nothing is new.
    waiting = list(all_rules)
    while waiting:
        left = []
        for rule in waiting:
            try:
                labels = known.labels_of(rule.expr)
            except Mistake as mistake:
                left.append((rule, mistake))
                continue
            report.looked_at += 1
            if rule.kind == "record":
                known.metrics[rule.name] = labels | set(rule.labels)
            else:
                alerts |= labels | set(rule.labels)
                check_alert(rule, labels | set(rule.labels), report)
        if len(left) == len(waiting):
            for rule, mistake in left:
                report.wrong(rule, mistake)
            break
        waiting = [rule for rule, _ in left]
    known.metrics["ALERTS"] = frozenset(alerts)


def check_alert(rule, labels, report):
    for key in ("summary", "description", "runbook_url"):
        if not rule.annotations.get(key):
            report.wrong(rule, f"no {key}")
    if rule.labels.get("severity") not in ("critical", "warning"):
        report.wrong(rule, "severity must be critical or warning")
    for text in rule.annotations.values():
        for label in re.findall(r"\$labels\.(\w+)", text):
            if label not in labels:
                report.wrong(rule, f"its text names the label {label}, which it does not have")


def check_runbook(alerts, runbook, report):
    """Each alert has a chapter, each chapter an alert, and the address leads there."""
    chapters = set(re.findall(r"^## (\w+)$", runbook, re.M))
    for rule in alerts:
        if rule.annotations.get("runbook_url") != f"{RUNBOOK}#{rule.name.lower()}":
            report.wrong(rule, f"runbook_url must end with {RUNBOOK}#{rule.name.lower()}")
        if rule.name not in chapters:
            report.wrong(rule, f"{RUNBOOK} has no chapter of that name")
    for chapter in sorted(chapters - {rule.name for rule in alerts}):
        report.wrong(RUNBOOK, f"there is no alert {chapter}")


def check_codes(all_rules, errors, report):
    """What counts as failed are the codes that docs/errors.md gives a status of 500 or more."""
    blameless = {"ok"}
    for codes, status in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\d{3}) \|", errors, re.M):
        if int(status) < 500:
            blameless |= set(re.findall(r"\w+", codes))
    for rule in all_rules:
        for listed in re.findall(r'outcome!~"([^"]*)"', rule.expr):
            if set(listed.split("|")) != blameless:
                report.wrong(rule, f"leaves out other codes than those of {ERRORS} below 500: "
                                   f"{', '.join(sorted(blameless ^ set(listed.split('|'))))}")


def check_dashboards(known, report):
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard, queries = dashboards.read(path)
        for mistake in dashboards.layout_mistakes(dashboard):
            report.wrong(path.name, mistake)
        names = dashboards.variables(dashboard)
        for query in queries:
            report.looked_at += 1
            for name in re.findall(r"\$\{?([a-z][a-z_]*)\b", query.expr):
                if name not in names:
                    report.wrong(query, f"there is no variable {name}")
            try:
                labels = known.labels_of(dashboards.filled(query.expr))
            except Mistake as mistake:
                report.wrong(query, mistake)
                continue
            for label in re.findall(r"\{\{ *(\w+) *\}\}", query.legend):
                if label not in labels:
                    report.wrong(query, f"the legend names the label {label}")


def check(text_of_metrics):
    report = Report()
    known = Known(metrics.table(text_of_metrics))
    if len(known.metrics) < 20:
        report.wrong("metrics", "the table of metrics cannot be found")
        return report
    all_rules = [rule for file in RULES for rule in rules.read(ROOT / file)]
    learn_rules(known, all_rules, report)
    alerts = [rule for rule in all_rules if rule.kind == "alert"]
    runbook = ROOT / RUNBOOK
    check_runbook(alerts, runbook.read_text() if runbook.exists() else "", report)
    check_codes(all_rules, (ROOT / ERRORS).read_text(), report)
    check_dashboards(known, report)
    return report


def self_test():
    """What must be found is found."""
    known = Known(metrics.table("| `a_total` | counter | `x`, `y` | help |\n"
                                "| `h_seconds` | histogram |  | help |\n"))
    for expr in ('sum by (x) (rate(a_total{y!="1"}[5m])) > 0',
                 "histogram_quantile(0.9, sum by (le) (rate(h_seconds_bucket[5m])))",
                 "a_total and on (instance) up == 1", "h_seconds_count / scalar(a_total)"):
        known.labels_of(expr)
    assert known.labels_of("sum by (x) (a_total) or vector(0)") == {"x"}
    assert known.labels_of("sum without (x) (a_total)") == {"y", "job", "instance"}
    for expr in ("a", "rate(b_total[5m])", 'a_total{z="1"}', "sum by (z) (a_total)",
                 "sum by (y) (sum by (x) (a_total))", "h_seconds", "sum(a_total",
                 "histogram_quantile(0.9, sum(rate(h_seconds_bucket[5m])))",
                 "sum by (x) (a_total) / on (y) a_total", '{x="1"}'):
        try:
            known.labels_of(expr)
        except Mistake:
            continue
        raise AssertionError(f"not found: {expr}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--metrics", type=Path, default=ROOT / "docs/metrics.md")
    options.add_argument("--self-test", action="store_true")
    chosen = options.parse_args()
    self_test()
    if chosen.self_test:
        return 0
    if not chosen.metrics.exists():
        sys.exit(f"error: there is no {chosen.metrics}, which lists the metrics")
    report = check(chosen.metrics.read_text())
    for mistake in report.mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    print(f"{report.looked_at} expressions name metrics and labels that exist; "
          f"{len(report.mistakes)} mistakes", file=sys.stderr)
    return 1 if report.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
