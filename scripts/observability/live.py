"""Every expression of rules and dashboards, asked of a real Prometheus that scrapes a router.

live.py PROGRAMS [--metrics docs/metrics.md]      PROGRAMS: where the built programs lie
"""

import argparse
import re
import sys
import time
from pathlib import Path

import check
import dashboards
import metrics
import rules
from lab import ROOT, Lab, Load, eventually, get

REQUESTS = [
    ("route", {"tenant_id": "demo", "message": {"payload": "hello"}}),
    ("route", {"tenant_id": "demo", "message": {"payload": "hello again"}}),
    ("route", {"tenant_id": "demo", "message": {"payload": "mail me at joe@example.org"}}),
    ("decide", {"tenant_id": "demo", "message": {"payload": "hello"}}),
    ("route", {"tenant_id": "nobody", "message": {"payload": "hello"}}),
]


def everything():
    """(where, expression) of all rules and panels."""
    for file in check.RULES:
        for rule in rules.read(ROOT / file):
            yield rule, rule.expr
    for path in sorted(check.DASHBOARDS.glob("*.json")):
        for query in dashboards.read(path)[1]:
            yield query, dashboards.filled(query.expr)


def ask_everything(prometheus):
    """Mistakes, and how many expressions had a result."""
    mistakes, answered, asked = [], 0, 0
    for where, expr in everything():
        asked += 1
        try:
            answered += bool(prometheus.query(expr))
        except ValueError as wrong:
            mistakes.append(f"{where}: {wrong}")
    print(f"{asked} expressions asked, {answered} had a result", file=sys.stderr)
    return mistakes


def compare_rules(prometheus):
    """Prometheus has read the same rules as we have, and evaluates them without an error."""
    read = {}
    for file in check.RULES:
        for rule in rules.read(ROOT / file):
            read[rule.name] = rule
    theirs = {}
    for group in prometheus.ask("rules")["groups"]:
        for rule in group["rules"]:
            theirs[rule["name"]] = rule
    for name in sorted(read.keys() | theirs.keys()):
        if name not in read or name not in theirs:
            yield f"{name}: only {'Prometheus' if name in theirs else 'this check'} has read it"
            continue
        ours, their = read[name], theirs[name]
        if their["health"] == "err":
            yield f"{ours}: {their['lastError']}"
        wanted = prometheus.ask("format_query", query=ours.expr)
        if prometheus.ask("format_query", query=their["query"]) != wanted:
            yield f"{ours}: this check has read another expression than Prometheus"
        if ours.annotations != their.get("annotations", {}):
            yield f"{ours}: this check has read other annotations than Prometheus"


def compare_table(exposed, table):
    """What the router shows and its table does not have: names and labels."""
    known = {name.removesuffix("_bucket"): labels for name, labels in table.items()} | table
    said = set()
    for line in exposed.splitlines():
        match = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
        if not match or line.startswith("#"):
            continue
        name, labels = match[1], set(re.findall(r'(\w+)="', match[2] or ""))
        unknown = labels - known[name] if name in known else {"(the whole metric)"}
        if unknown and (name, *unknown) not in said:
            said.add((name, *unknown))
            yield f"the router shows {name} with {', '.join(sorted(unknown))}, which its table does not have"


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("programs", type=Path)
    options.add_argument("--metrics", type=Path, default=ROOT / "docs/metrics.md")
    options.add_argument("--seconds", type=int, default=20)
    chosen = options.parse_args()
    with Lab(chosen.programs.resolve()) as lab:
        router = lab.start_router("router", {"BEAMLINE__TELEMETRY__LOG_FORMAT": "json"})
        for program in ("normalize-text", "pii-guard", "mask-pii"):
            lab.start_extension(program)
        lab.start_extension("mock-provider", "--failure-rate", "0.1")
        prometheus = lab.start_prometheus({"router": router})
        with Load(lab.nats_port, REQUESTS, rate=20) as load:
            eventually("an answer comes", lambda: load.answers)
            time.sleep(chosen.seconds)
            eventually("Prometheus has read the router",
                       lambda: prometheus.query("sum(router_requests_answered_total) > 0"))
            mistakes = ask_everything(prometheus)
            mistakes += compare_rules(prometheus)
            mistakes += compare_table(get(f"http://{router}/metrics"),
                                      metrics.table(chosen.metrics.read_text()))
        print(f"{load.answers} of {load.sent} requests were answered", file=sys.stderr)
    for mistake in mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
