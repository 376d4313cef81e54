"""Reads the dashboards of docker/grafana."""

import json
import re
from dataclasses import dataclass

# What stands for the variables of a dashboard where an expression is only read or tried.
STANDS_FOR = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$__interval": "15s",
}


@dataclass
class Query:
    dashboard: str
    panel: str
    expr: str
    legend: str

    def __str__(self):
        return f"{self.dashboard}: {self.panel}"


def read(path):
    """The dashboard, and everything that it asks Prometheus."""
    dashboard = json.loads(path.read_text())
    found = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            found.append(Query(path.name, panel["title"], target["expr"], target["legendFormat"]))
    for annotation in dashboard["annotations"]["list"]:
        texts = annotation["titleFormat"] + annotation["textFormat"]
        found.append(Query(path.name, "annotations", annotation["expr"], texts))
    for variable in dashboard["templating"]["list"]:
        # What is asked for is label_values(SELECTOR, LABEL).
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
        if match:
            legend = "{{%s}}" % match[2]
            found.append(Query(path.name, f"variable {variable['name']}", match[1], legend))
        elif variable["type"] != "datasource":
            found.append(Query(path.name, f"variable {variable['name']}", variable["query"], ""))
    return dashboard, found


def variables(dashboard):
    return {variable["name"] for variable in dashboard["templating"]["list"]}


def filled(expr, values=None):
    """The expression with something in place of each variable: whatever matches all, if need be."""
    for name, value in STANDS_FOR.items():
        expr = expr.replace(name, value)
    for name, value in (values or {}).items():
        expr = re.sub(rf"\$\{{?{name}\b\}}?", value, expr)
    return re.sub(r"\$\{?[a-z_]+\}?", ".*", expr)


def layout_mistakes(dashboard):
    """Panels that say nothing about themselves, or lie on one another."""
    taken = {}
    for panel in dashboard["panels"]:
        title, place = panel["title"], panel["gridPos"]
        if panel["type"] != "row" and not panel.get("description"):
            yield f"{title}: no description"
        if place["x"] + place["w"] > 24:
            yield f"{title}: is wider than the page"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), title)
                if other != title:
                    yield f"{title}: lies on {other}"
                    return
        for target in panel.get("targets", []):
            if not target["legendFormat"] and panel["type"] != "table":
                yield f"{title}: {target['expr']} has no legend"
