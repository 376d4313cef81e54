"""Reads the rules and alerts of docker/prometheus.

They are YAML, for which Python has no reader. They keep to a small part of it, and this reads no
more than that part: what it does not know is a mistake. The full check compares what it read with
what Prometheus has read.
"""

import re
from dataclasses import dataclass, field


@dataclass
class Rule:
    file: str
    line: int
    kind: str  # "record" or "alert"
    name: str
    expr: str = ""
    wait: str = "0s"
    labels: dict = field(default_factory=dict)
    annotations: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.file}:{self.line}: {self.name}"


KEY = re.compile(r"^( *)(- )?([a-z_]+):(?: (.*))?$")


def read(path):
    """All rules of a file, in order."""
    rules, inside = [], None
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = KEY.match(line)
        if not match:
            raise ValueError(f"{path.name}:{number}: cannot be read: {line.strip()}")
        indent, _, key, value = match.groups()
        value = value or ""
        if value in ("|", ">-"):
            block, number = take_block(lines, number, len(indent))
            value = ("\n" if value == "|" else " ").join(block)
        elif value[:1] == '"':
            value = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', value)[1]
        if key in ("record", "alert"):
            rules.append(Rule(path.name, number, key, value))
            inside = None
        elif key in ("groups", "name", "interval", "rules"):
            inside = None
        elif key == "expr":
            rules[-1].expr = value
        elif key == "for":
            rules[-1].wait = value
        elif key == "labels":
            rules[-1].labels = dict(re.findall(r"(\w+): ([\w-]+)", value))
        elif key == "annotations":
            inside = rules[-1].annotations
        elif inside is not None:
            inside[key] = value
        else:
            raise ValueError(f"{path.name}:{number}: unknown key {key}")
    return rules


def take_block(lines, number, indent):
    """The lines of a text that stand deeper than its key, and where it ends."""
    block = []
    while number < len(lines) and (
        not lines[number].strip() or len(lines[number]) - len(lines[number].lstrip()) > indent
    ):
        if lines[number].strip():
            block.append(lines[number].strip())
        number += 1
    return block, number
