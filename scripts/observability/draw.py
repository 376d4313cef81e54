"""Draws a dashboard from what Prometheus answers to its queries. Not Grafana, but what it shows."""

import math
import re
from datetime import datetime, timezone

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates
import matplotlib.pyplot as plot
from matplotlib.patches import FancyBboxPatch, Rectangle

COLUMN, LINE = 0.66, 0.34  # inches of a grid unit
MINUTE = 1 / 1440  # of a day, in which times are counted here
INK, FAINT, PAGE, EDGE = "#24292e", "#6b7280", "#f4f5f5", "#d8dbe0"
PALETTE = ["#3274d9", "#56a64b", "#f2a900", "#e02f44", "#8f3bb8", "#ff780a", "#1f9e89", "#a352cc", "#705da0", "#b7a000",
           "#5794f2", "#96d98d"]
NAMED = {"green": "#56a64b", "yellow": "#e0b400", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9"}
# What is known by its name keeps its colour on every picture.
KNOWN = {"ok": "#56a64b", "success": "#56a64b", "closed": "#56a64b", "error": "#e02f44", "timeout": "#ff780a",
         "open": "#e02f44", "half_open": "#e0b400", "rejected": "#8f3bb8", "limit": "#b0b7c0", "ceiling": "#d8dbe0",
         "p50": "#56a64b", "p95": "#f2a900", "p99": "#e02f44", "circuit_open": "#b7a000", "validator_blocked": "#8f3bb8"}


def date_of(seconds):
    return dates.date2num(datetime.fromtimestamp(seconds, timezone.utc))


def shown(value, unit, decimals=None):
    """The value as Grafana would write it."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "percentunit":
        return number(value * 100, decimals) + " %"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= size:
                return f"{number(value / size, decimals)} {name}"
        return "0 s"
    if unit == "bytes":
        for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if abs(value) >= 1 << power:
                return f"{number(value / (1 << power), decimals)} {name}"
        return f"{number(value, decimals)} B"
    if unit == "short" and abs(value) >= 1000:
        return number(value / 1000, decimals) + " k"
    suffix = {"reqps": " req/s", "ops": " /s"}.get(unit, "")
    if unit.startswith("suffix:"):
        suffix = unit.removeprefix("suffix:")
    return number(value, decimals) + suffix


def number(value, decimals=None):
    if decimals is None:
        decimals = 0 if value == int(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def legend(text, labels):
    return re.sub(r"\{\{ *(\w+) *\}\}", lambda match: labels.get(match[1], ""), text).strip()


class Picture:
    """One dashboard. `ask` answers the series of an expression: [(labels, [(time, value)])]."""

    def __init__(self, dashboard, title, ask, since, until):
        self.ask, self.since, self.until = ask, date_of(since), date_of(until)
        panels = dashboard["panels"]
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        self.width, self.height = 24 * COLUMN + 0.2, (rows + 1.8) * LINE
        self.figure = plot.figure(figsize=(self.width, self.height), facecolor=PAGE)
        self.figure.text(0.2 / self.width, 1 - 0.36 / self.height, title, size=15, weight="bold", color=INK, va="center")
        for panel in panels:
            self.panel(panel)

    def save(self, path):
        self.figure.savefig(path, dpi=100, facecolor=PAGE)
        plot.close(self.figure)

    def box(self, place, left=0.0, right=0.0, top=0.0, bottom=0.0):
        """The place of a panel on the figure, less so many inches at each side."""
        x, y = place["x"] * COLUMN + 0.1 + left, (place["y"] + 1.6) * LINE + top
        w, h = place["w"] * COLUMN - left - right, place["h"] * LINE - top - bottom
        return [x / self.width, 1 - (y + h) / self.height, w / self.width, h / self.height]

    def panel(self, panel):
        place, kind = panel["gridPos"], panel["type"]
        if kind == "row":
            x, y, _, h = self.box(place)
            self.figure.text(x + 0.08 / self.width, y + h / 2, panel["title"].replace("$extension_id", "Now"), size=11, weight="bold",
                             color=INK, va="center")
            return
        x, y, w, h = self.box(place, 0.05, 0.05, 0.05, 0.05)
        self.figure.add_artist(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.002", facecolor="white",
                                              edgecolor=EDGE, linewidth=0.8, transform=self.figure.transFigure,
                                              zorder=-1))
        self.figure.text(x + 0.1 / self.width, y + h - 0.17 / self.height, panel["title"], size=9, weight="bold", color=INK,
                         va="center")
        getattr(self, kind.replace("-", "_"))(panel, place)

    def axes(self, place, left=0.62, right=0.18, top=0.4, bottom=0.62):
        axes = self.figure.add_axes(self.box(place, left, right, top, bottom))
        axes.set_facecolor("white")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=7, colors=FAINT)
        return axes

    def series(self, panel):
        found = []
        for target in panel["targets"]:
            for labels, points in self.ask(target["expr"]):
                found.append((legend(target["legendFormat"], labels), points))
        return sorted(found, key=lambda one: one[0])

    def nothing(self, panel, place):
        x, y, w, h = self.box(place)
        text = panel["fieldConfig"]["defaults"].get("noValue", "no data")
        self.figure.text(x + w / 2, y + h / 2, text, size=9, color=FAINT, ha="center", va="center")

    def text(self, panel, place):
        x, y, _, h = self.box(place)
        words = panel["options"]["content"].replace("**", "").split()
        lines, line = [], ""
        for word in words:
            if len(line) + len(word) > 190:
                lines.append(line)
                line = ""
            line += word + " "
        self.figure.text(x + 0.15 / self.width, y + h * 0.38, "\n".join([*lines, line]), size=9, color=INK, va="center",
                         linespacing=1.5)

    def stat(self, panel, place):
        found, defaults = self.series(panel), panel["fieldConfig"]["defaults"]
        x, y, w, h = self.box(place)
        if not found:
            return self.nothing(panel, place)
        if panel["options"]["graphMode"] == "area" and len(found) == 1:
            axes = self.figure.add_axes(self.box(place, 0.06, 0.06, 0.85, 0.06))
            axes.axis("off")
            times, values = zip(*found[0][1])
            colour = self.colour_of(values[-1], defaults)
            axes.fill_between(times, values, color=colour, alpha=0.15, linewidth=0)
            axes.plot(times, values, color=colour, linewidth=1)
            axes.set_ylim(0 if min(values) > 0 and min(values) < 0.9 * max(values) else None, max(values) * 1.1 or 1)
        for index, (name, points) in enumerate(found):
            value, middle = points[-1][1], x + w * (index + 0.5) / len(found)
            mapped = self.mapping(defaults, value)
            text = mapped["text"] if mapped else shown(value, defaults["unit"], defaults.get("decimals"))
            self.figure.text(middle, y + h * 0.46, text, size=17 if len(found) < 3 else 12, weight="bold", ha="center",
                             va="center", color=self.colour_of(value, self.overridden(panel, name)))
            if len(found) > 1:
                self.figure.text(middle, y + h * 0.2, name, size=8, color=FAINT, ha="center", va="center")

    @staticmethod
    def overridden(panel, name):
        defaults = dict(panel["fieldConfig"]["defaults"])
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == name:
                defaults.update({one["id"]: one["value"] for one in override["properties"]})
        return defaults

    @staticmethod
    def mapping(defaults, value):
        for mapping in defaults.get("mappings", []):
            if found := mapping["options"].get(str(int(value))):
                return found
        return None

    @staticmethod
    def colour_of(value, defaults):
        colour = "blue"
        for step in defaults.get("thresholds", {}).get("steps", []):
            if step["value"] is None or value >= step["value"]:
                colour = step["color"]
        return NAMED[colour]

    def timeseries(self, panel, place):
        found, defaults = self.series(panel), panel["fieldConfig"]["defaults"]
        if not found:
            return self.nothing(panel, place)
        apart = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        twofold = any(name in apart for name, _ in found)
        axes = self.axes(place, left=0.85 if defaults["unit"].startswith("suffix:") else 0.62, right=0.55 if twofold else 0.18)
        second = axes.twinx() if twofold else None
        colours = self.colours([name for name, _ in found])
        if "stacking" in defaults["custom"]:
            self.stacked(axes, found, colours)
        else:
            for name, points in found:
                times, values = zip(*with_gaps(points))
                on = second if second is not None and name in apart else axes
                on.plot(times, values, color=colours[name], linewidth=1.3, label=name)
                if len(found) < 3:
                    on.fill_between(times, values, color=colours[name], alpha=0.07, linewidth=0)
        if "thresholdsStyle" in defaults["custom"]:
            for step in defaults["thresholds"]["steps"][1:]:
                axes.axhline(step["value"], color=NAMED[step["color"]], linestyle="--", linewidth=0.9)
        self.scale(axes, defaults, second)
        if second is not None:
            second.tick_params(length=0, labelsize=7, colors=FAINT)
            for side in second.spines.values():
                side.set_visible(False)
            second.set_ylim(bottom=0)
            unit = next(one["value"] for one in panel["fieldConfig"]["overrides"][0]["properties"] if one["id"] == "unit")
            second.yaxis.set_major_formatter(lambda value, _: shown(value, unit))
            second.yaxis.set_major_locator(plot.MaxNLocator(4, integer=unit == "none"))
        self.legend(place, [(name, colours[name]) for name, _ in found])

    def stacked(self, axes, found, colours):
        times = sorted({time for _, points in found for time, _ in points})
        rows = []
        for _, points in found:
            at = dict(points)
            rows.append([at.get(time, 0) if not math.isnan(at.get(time, 0)) else 0 for time in times])
        axes.stackplot(times, rows, colors=[colours[name] for name, _ in found], alpha=0.75, linewidth=0)

    @staticmethod
    def colours(names):
        chosen, free = {}, [colour for colour in PALETTE]
        for name in names:
            for word in name.replace(",", " ").split():
                if word in KNOWN and KNOWN[word] not in chosen.values():
                    chosen[name] = KNOWN[word]
                    break
        free = [colour for colour in PALETTE if colour not in chosen.values()] or PALETTE
        for index, name in enumerate(name for name in names if name not in chosen):
            chosen[name] = free[index % len(free)]
        return chosen

    def hours(self, axes):
        """The whole time on each panel, also where something was measured for a part of it only."""
        minutes = (self.until - self.since) / MINUTE
        axes.xaxis.set_major_locator(dates.MinuteLocator(interval=max(1, math.ceil(minutes / 5))))
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        axes.set_xlim(self.since, self.until)

    def scale(self, axes, defaults, second):
        axes.grid(axis="y", color="#eceef1", linewidth=0.8)
        axes.set_axisbelow(True)
        self.hours(axes)
        axes.yaxis.set_major_locator(plot.MaxNLocator(5, integer=defaults.get("decimals") == 0))
        if defaults["unit"] == "bytes":
            most = max(axes.get_ylim()[1], 1)
            axes.yaxis.set_major_locator(plot.MultipleLocator(2 ** math.ceil(math.log2(most / 5))))
        axes.yaxis.set_major_formatter(lambda value, _: shown(value, defaults["unit"]))
        if "min" in defaults:
            axes.set_ylim(bottom=defaults["min"], top=axes.get_ylim()[1] * 1.05)
            if axes.get_ylim()[1] <= 0.06 and second is None and defaults["unit"] in ("none", "ops", "reqps"):
                axes.set_ylim(top=1)

    def legend(self, place, entries):
        """One line of names under the axes, as many as fit."""
        x, y, w, _ = self.box(place, 0.15, 0.1)
        at, seen = x, set()
        for name, colour in entries:
            if name in seen:
                continue
            seen.add(name)
            words = self.figure.text(at + 0.15 / self.width, y + 0.2 / self.height, name, size=7.5, color=INK, va="center")
            end = words.get_window_extent(self.figure.canvas.get_renderer()).x1 / 100 / self.width
            if end > x + w:
                words.set_text("…")
                break
            self.figure.add_artist(Rectangle((at, y + 0.185 / self.height), 0.11 / self.width, 0.035 / self.height,
                                             facecolor=colour, transform=self.figure.transFigure))
            at = end + 0.14 / self.width

    def state_timeline(self, panel, place):
        found, defaults = self.series(panel), panel["fieldConfig"]["defaults"]
        if not found:
            return self.nothing(panel, place)
        longest = max(len(name) for name, _ in found)
        axes = self.axes(place, left=min(0.3 + 0.07 * longest, 1.7))
        for row, (_, points) in enumerate(reversed(found)):
            step = min(later[0] - earlier[0] for earlier, later in zip(points, points[1:]))
            for time, value in points:
                mapped = self.mapping(defaults, value)
                axes.barh(row, step, left=time, height=0.62, color=NAMED[mapped["color"]], alpha=0.8, linewidth=0)
        axes.set_yticks(range(len(found)), [name for name, _ in reversed(found)])
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.xaxis_date()
        self.hours(axes)
        options = defaults["mappings"][0]["options"].values()
        self.legend(place, [(one["text"], NAMED[one["color"]]) for one in options])

    def bargauge(self, panel, place):
        found, unit = self.series(panel), panel["fieldConfig"]["defaults"]["unit"]
        if not found:
            return self.nothing(panel, place)
        found.sort(key=lambda one: one[1][-1][1])
        axes = self.axes(place, left=1.5, right=0.9, bottom=0.25)
        values = [points[-1][1] for _, points in found]
        axes.barh([name for name, _ in found], values, height=0.5, color=NAMED["blue"], alpha=0.8)
        axes.set_xticks([])
        for row, value in enumerate(values):
            axes.text(value, row, "  " + shown(value, unit, 1), va="center", size=9, color=INK)

    def table(self, panel, place):
        series = [one for target in panel["targets"] for one in self.ask(target["expr"])]
        # What there is now, and not what there was a minute ago.
        rows = [labels for labels, points in series if points[-1][0] > self.until - MINUTE / 2]
        if not rows:
            return self.nothing(panel, place)
        x, y, w, h = self.box(place, 0.15, 0.1, 0.35, 0.1)
        names = sorted({name for labels in rows for name in labels} - {"__name__"})
        for column, name in enumerate(names):
            left = x + w * column / len(names)
            self.figure.text(left, y + h - 0.1 / self.height, name, size=8, color=FAINT, va="center", weight="bold")
            for row, labels in enumerate(rows[: int(h * self.height / 0.23) - 1]):
                self.figure.text(left, y + h - (0.1 + 0.23 * (row + 1)) / self.height, labels.get(name, ""), size=8, color=INK,
                                 va="center")


def with_gaps(points):
    """A line breaks where there was nothing to measure."""
    if len(points) < 2:
        return points
    step, out = min(later[0] - earlier[0] for earlier, later in zip(points, points[1:])), []
    for point in points:
        if out and point[0] - out[-1][0] > 1.5 * step:
            out.append((out[-1][0] + step, math.nan))
        out.append(point)
    return out
