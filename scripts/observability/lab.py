"""NATS, routers, the reference extensions, a little load, and Prometheus, for as long as a check
takes. Loopback only, on free ports. All of it ends with whoever started it, however that ends."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOB = "beamline-router"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_with_parent():
    """On Linux the kernel ends a child whose parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def eventually(what, attempt, limit=30):
    """What `attempt` answers, as soon as it is something."""
    until, why = time.monotonic() + limit, None
    while time.monotonic() < until:
        try:
            if found := attempt():
                return found
        except (OSError, ValueError) as wrong:
            why = wrong
        time.sleep(0.1)
    raise RuntimeError(f"after {limit} s still not: {what} ({why})")


class Lab:
    def __init__(self, programs):
        self.programs = Path(programs)
        self.folder = tempfile.TemporaryDirectory(prefix="beamline-observability.")
        self.path = Path(self.folder.name)
        self.running = {}

    def __enter__(self):
        # Ended from outside, it tidies up as at any other end.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.nats_port = free_port()
        self.start_nats()
        return self

    def __exit__(self, *_):
        for name in reversed(list(self.running)):
            self.stop(name)
        self.folder.cleanup()

    def start(self, name, command, environment=None):
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if "BEAMLINE" not in key}
        with open(folder / "log", "ab") as log:
            self.running[name] = subprocess.Popen(
                [str(part) for part in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env={**inherited, **(environment or {})}, preexec_fn=end_with_parent)

    def stop(self, name, how=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name):
        return (self.path / name / "log").read_text(errors="replace")

    @property
    def nats_url(self):
        return f"nats://127.0.0.1:{self.nats_port}"

    def start_nats(self):
        self.start("nats", ["nats-server", "-a", "127.0.0.1", "-p", self.nats_port, "-js", "-sd", "js"])
        eventually("nats-server listens",
                   lambda: socket.create_connection(("127.0.0.1", self.nats_port), 1).close() or True)

    def start_router(self, name, environment=None):
        """Answers its address for HTTP."""
        address = f"127.0.0.1:{free_port()}"
        self.start(name, [self.programs / "beamline-router", "serve"], {
            "BEAMLINE__NATS__URL": self.nats_url, "BEAMLINE__HTTP__LISTEN": address,
            "BEAMLINE__ADMIN__OPEN": "true", **(environment or {})})
        eventually(f"{name} is ready", lambda: get(f"http://{address}/readyz"))
        return address

    def start_extension(self, program, *flags, name=None):
        self.start(name or program, [self.programs / f"beamline-{program}", *flags],
                   {"NATS_URL": self.nats_url})

    def command(self, *words):
        """The router's own command line."""
        done = subprocess.run(
            [self.programs / "beamline-router", *words], cwd=self.path, text=True, capture_output=True,
            env={**os.environ, "BEAMLINE__NATS__URL": self.nats_url})
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def start_prometheus(self, targets, interval="1s"):
        """Scrapes the targets (name -> address), by the rules of docker/prometheus."""
        rules = ROOT / "docker/prometheus"
        folder = self.path / "prometheus"
        folder.mkdir()
        places = "".join(f"      - {{targets: ['{address}'], labels: {{instance: {name}}}}}\n"
                         for name, address in targets.items())
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}\n"
            f"rule_files: [{rules}/recording.yml, {rules}/alerts.yml]\n"
            f"scrape_configs:\n  - job_name: {JOB}\n"
            f"    static_configs:\n{places}")
        address = f"127.0.0.1:{free_port()}"
        self.start("prometheus", [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address={address}", "--enable-feature=exemplar-storage", "--log.level=warn"])
        eventually("Prometheus is ready", lambda: get(f"http://{address}/-/ready"))
        return Prometheus(address)


class Prometheus:
    def __init__(self, address):
        self.address = address

    def ask(self, path, **parameters):
        """The data of an answer; ValueError when it is an error."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            answer = json.loads(get(url, 30))
        except urllib.error.HTTPError as wrong:
            raise ValueError(json.loads(wrong.read())["error"]) from None
        return answer["data"]

    def query(self, expr):
        return self.ask("query", query=expr)["result"]


class Load:
    """Publishes requests at a steady rate, and counts their answers."""

    def __init__(self, port, requests, rate):
        self.requests, self.rate, self.port = requests, rate, port
        self.answers, self.sent = 0, 0
        self.inbox = f"_INBOX.load{id(self)}".encode()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def run(self):
        while not self.ended.is_set():
            try:
                self.talk()
            except OSError:
                # NATS is away; that may be what is tried.
                self.ended.wait(0.5)

    def talk(self):
        with socket.create_connection(("127.0.0.1", self.port), 2) as wire:
            wire.settimeout(0.01)
            wire.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB %s 1\r\n' % self.inbox)
            due = time.monotonic()
            while not self.ended.is_set():
                now = time.monotonic()
                while due <= now:
                    kind, body = self.requests[self.sent % len(self.requests)]
                    body = json.dumps({"version": "1", "request_id": f"r-{self.sent}", **body}).encode()
                    subject = f"beamline.router.v1.{kind}".encode()
                    wire.sendall(b"PUB %s %s %d\r\n%s\r\n" % (subject, self.inbox, len(body), body))
                    self.sent += 1
                    due += 1 / self.rate
                try:
                    received = wire.recv(1 << 20)
                except TimeoutError:
                    continue
                if not received:
                    raise OSError("closed")
                self.answers += received.count(b"MSG " + self.inbox)
                if b"PING\r\n" in received:
                    wire.sendall(b"PONG\r\n")
