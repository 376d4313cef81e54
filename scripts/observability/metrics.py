"""The metrics that a router has, as docs/metrics.md lists them."""

import re

# Prometheus adds these to everything that it scrapes.
OF_THE_TARGET = frozenset({"job", "instance"})


def table(text):
    """Name -> labels, of all that Prometheus finds: a histogram is three of them."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) < 4 or not re.fullmatch(r"`[a-z_]+`", cells[0]):
            continue
        name, kind = cells[0].strip("`"), cells[1].lower()
        labels = frozenset(re.findall(r"`(\w+)`", cells[2])) | OF_THE_TARGET
        if kind == "histogram":
            found[f"{name}_bucket"] = labels | {"le"}
            found[f"{name}_sum"] = found[f"{name}_count"] = labels
        elif kind in ("counter", "gauge", "info"):
            found[name] = labels
    return found
