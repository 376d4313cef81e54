"""Eight minutes of load with faults, and a picture of each dashboard from the same queries.

pictures.py PROGRAMS [--into docs/images]
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import check
import dashboards
from draw import Picture, date_of
from lab import JOB, ROOT, Lab, Load, eventually

STEP = 5  # seconds between two scrapes
TITLES = {"overview": "Overview", "extension": "One extension: openai_gpt4", "supervision": "Supervision and limits",
          "tokens": "Tokens and cost"}
POLICY = {
    "version": "1.0",
    "pre": [{"id": "normalize_text"}],
    "validators": [{"id": "pii_guard"}],
    "providers": [{"name": "openai_gpt4", "weight": 70}, {"name": "anthropic_claude", "weight": 30},
                  {"name": "mock_provider", "weight": 0}],
    "fallbacks": [{"when": {"status": "5xx"}, "to": "anthropic_claude"}, {"when": {"status": "error"}, "to": "mock_provider"}],
    "sticky": {"session_key": "user_id", "ttl": "10m"},
    "post": [{"id": "mask_pii"}],
}


def requests():
    """A mixture that repeats: two tenants, both kinds, a rejection, a mistake."""
    chosen = []
    for index in range(60):
        words = "please " * (1 + index % 7) + "answer"
        acme = {"tenant_id": "acme", "message": {"payload": words}}
        if index % 4:
            acme["context"] = {"user_id": f"u-{index % 23}"}
        demo = {"tenant_id": "demo", "message": {"payload": words}}
        chosen.append(("decide" if index % 12 == 5 else "route", demo if index % 3 == 0 else acme))
    chosen.append(("route", {"tenant_id": "acme", "message": {"payload": "mail me at joe@example.org"}}))
    chosen.append(("route", {"tenant_id": "acme", "policy_id": "nope", "message": {"payload": "hello"}}))
    return chosen


def set_up(lab, settings):
    """Two routers with the same registry: SQLite is for one, so each gets a copy."""
    lab.start_router("router-1", settings)
    for name in ("openai_gpt4", "anthropic_claude"):
        lab.command("ext", "enable", name)
    (lab.path / "policy.json").write_text(json.dumps(POLICY))
    lab.command("policy", "put", "acme", "default", "-f", "policy.json")
    lab.stop("router-1")
    (lab.path / "router-2").mkdir()
    shutil.copytree(lab.path / "router-1/.beamline", lab.path / "router-2/.beamline")
    for program in ("normalize-text", "pii-guard", "mask-pii"):
        lab.start_extension(program)
    lab.start_extension("mock-provider", "--latency-ms", "4", "--jitter-ms", "4")
    provider(lab, "openai_gpt4", "--latency-ms", "12", "--jitter-ms", "20", "--failure-rate", "0.005")
    provider(lab, "anthropic_claude", "--latency-ms", "18", "--jitter-ms", "30", "--failure-rate", "0.005")
    return {name: lab.start_router(name, settings) for name in ("router-1", "router-2")}


def provider(lab, name, *flags):
    """Starts a provider, in place of the one that runs."""
    if name in lab.running:
        lab.stop(name)
    lab.start_extension("mock-provider", "--id", name, *flags, name=name)


def play(lab, chosen, pace):
    """What happens, in minutes."""
    wait = lambda minutes: time.sleep(60 * minutes * pace)
    with Load(lab.nats_port, requests(), chosen.rate) as load:
        eventually("an answer comes", lambda: load.answers)
        wait(2)
        provider(lab, "openai_gpt4", "--latency-ms", "12", "--jitter-ms", "20", "--failure-rate", "0.4")
        wait(1.2)
        provider(lab, "openai_gpt4", "--latency-ms", "12", "--jitter-ms", "20", "--failure-rate", "0.005")
        wait(1.3)
        provider(lab, "anthropic_claude", "--latency-ms", "250", "--jitter-ms", "150")
        with Load(lab.nats_port, requests(), chosen.burst):
            wait(0.7)
        provider(lab, "anthropic_claude", "--latency-ms", "18", "--jitter-ms", "30")
        wait(1)
        lab.stop("nats")
        time.sleep(15)
        lab.start_nats()
        wait(1.6)
        print(f"{load.answers} of {load.sent} requests were answered", file=sys.stderr)


def ask_over(prometheus, since, until, values):
    """Answers a function that asks for an expression over this time."""
    def ask(expr):
        expr = dashboards.filled(expr.replace("$__rate_interval", f"{4 * STEP}s").replace(
            "$__range", f"{int(until - since)}s"), values)
        answer = prometheus.ask("query_range", query=expr, start=since, end=until, step=STEP)
        return [(one["metric"], [(date_of(at), float(value)) for at, value in one["values"]])
                for one in answer["result"]]
    return ask


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("programs", type=Path)
    options.add_argument("--into", type=Path, default=ROOT / "docs/images")
    options.add_argument("--rate", type=int, default=40)
    options.add_argument("--burst", type=int, default=200)
    options.add_argument("--pace", type=float, default=1.0)
    options.add_argument("--settings", default="BEAMLINE__TELEMETRY__TENANT_LABEL=true")
    chosen = options.parse_args()
    chosen.into.mkdir(exist_ok=True)
    settings = {"BEAMLINE__TELEMETRY__LOG_FORMAT": "json", "BEAMLINE__ROUTER__MAX_IN_FLIGHT": "24"}
    settings.update(pair.split("=") for pair in chosen.settings.split() if pair)
    with Lab(chosen.programs.resolve()) as lab:
        targets = set_up(lab, settings)
        prometheus = lab.start_prometheus(targets, f"{STEP}s")
        since = time.time() + 4 * STEP
        play(lab, chosen, chosen.pace)
        until = time.time()
        for path in sorted(check.DASHBOARDS.glob("*.json")):
            values = {"job": JOB, "instance": ".*", "extension_id": "openai_gpt4", "provider_id": ".*"}
            picture = Picture(dashboards.read(path)[0], "Beamline: " + TITLES[path.stem],
                              ask_over(prometheus, since, until, values), since, until)
            picture.save(chosen.into / f"dashboard-{path.stem}.png")
    shrink(chosen.into)
    return 0


def shrink(folder):
    """A picture of few colours needs few bytes: the 256 most frequent ones stay as they are."""
    from PIL import Image
    for path in folder.glob("dashboard-*.png"):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        frequent = sorted(picture.getcolors(1 << 24), reverse=True)[:256]
        palette = Image.new("P", (1, 1))
        palette.putpalette([part for _, colour in frequent for part in colour])
        picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
