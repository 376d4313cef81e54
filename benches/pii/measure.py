"""Precision and recall by kind, for the detector of the extensions and for Presidio's pattern recognizers.

`measure.py CORPUS PROGRAM`: PROGRAM reads texts as JSON strings, one a line, and answers each with a list of
`[kind, first character, end]`. A label counts as found when a find of its kind covers four fifths of its letters and
digits, and a find counts as right when half of its letters and digits lie in labels of its kind."""

import argparse
import collections
import json
import logging
import subprocess
import time

KINDS = ["card", "iban", "email", "phone", "ssn"]


def presidio():
    """The recognizers, asked one by one: none of them needs a language model."""
    logging.disable(logging.WARNING)
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer, EmailRecognizer, IbanRecognizer, PhoneRecognizer, UsSsnRecognizer)
    return {
        "card": (CreditCardRecognizer(), "CREDIT_CARD"), "iban": (IbanRecognizer(), "IBAN_CODE"),
        "email": (EmailRecognizer(), "EMAIL_ADDRESS"), "phone": (PhoneRecognizer(), "PHONE_NUMBER"),
        "ssn": (UsSsnRecognizer(), "US_SSN"),
    }


def presidio_finds(texts, least):
    recognizers = presidio()
    for text in texts:
        finds = []
        for kind, (recognizer, entity) in recognizers.items():
            for found in recognizer.analyze(text, [entity], None) or []:
                if found.score >= least:
                    finds.append((kind, found.start, found.end))
        yield finds


def program_finds(program, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    answer = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    return [[tuple(find) for find in json.loads(line)] for line in answer.stdout.splitlines()]


def covered(text, start, end, others):
    """How many of the letters and digits of a range lie in other ranges, and how many it has."""
    counted = [at for at in range(start, end) if text[at].isalnum()]
    inside = [at for at in counted if any(a <= at < b for a, b in others)]
    return len(inside), max(len(counted), 1)


def score(corpus, all_finds, show):
    result = {kind: collections.Counter() for kind in KINDS}
    clean = false_in_clean = 0
    for entry, finds in zip(corpus, all_finds):
        text = entry["text"]
        clean += not entry["spans"]
        false_in_clean += 0 if entry["spans"] else len(finds)
        for kind in KINDS:
            labels = [(span["start"], span["end"]) for span in entry["spans"] if span["kind"] == kind]
            ranges = [(start, end) for found, start, end in finds if found == kind]
            for label in labels:
                inside, whole = covered(text, *label, ranges)
                result[kind]["found" if inside >= 0.8 * whole else "missed"] += 1
                if inside < 0.8 * whole and show:
                    report("missed", kind, entry, *label)
            for found in ranges:
                inside, whole = covered(text, *found, labels)
                result[kind]["right" if inside >= 0.5 * whole else "wrong"] += 1
                if inside < 0.5 * whole and show:
                    report("wrong", kind, entry, *found)
    return result, 1000 * false_in_clean / max(clean, 1)


def report(what, kind, entry, start, end):
    text = entry["text"]
    print(f"{what:6} {kind:5} {entry['id']:18} {text[max(0, start - 30):start]!r} {text[start:end]!r} {text[end:end + 15]!r}")


def ratio(one, other):
    return one / (one + other) if one + other else 1.0


def table(rows):
    print("| kind | labels | " + " | ".join(f"{name} precision | {name} recall" for name, _, _ in rows) + " |")
    print("|---|---|" + "---|---|" * len(rows))
    for kind in KINDS:
        counts = [result[kind] for _, result, _ in rows]
        cells = [f"{ratio(c['right'], c['wrong']):.4f} | {ratio(c['found'], c['missed']):.4f}" for c in counts]
        print(f"| {kind} | {counts[0]['found'] + counts[0]['missed']} | " + " | ".join(cells) + " |")
    print("\nFalse hits in 1,000 texts without personal data: "
          + ", ".join(f"{name} {false:.1f}" for name, _, false in rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("program")
    parser.add_argument("--show", action="store_true", help="print what the program missed and what it found wrongly")
    parser.add_argument("--alone", action="store_true", help="without Presidio")
    options = parser.parse_args()
    with open(options.corpus, encoding="utf-8") as file:
        corpus = [json.loads(line) for line in file]
    texts = [entry["text"] for entry in corpus]
    rows = []
    began = time.monotonic()
    rows.append(("Beamline", *score(corpus, program_finds(options.program, texts), options.show)))
    times = [f"Beamline {time.monotonic() - began:.1f} s"]
    for name, least in [] if options.alone else [("Presidio", 0.0), ("Presidio from 0.4", 0.4)]:
        began = time.monotonic()
        rows.append((name, *score(corpus, list(presidio_finds(texts, least)), False)))
        times.append(f"{name} {time.monotonic() - began:.1f} s")
    print(f"{len(corpus)} texts, {sum(not entry['spans'] for entry in corpus)} without personal data\n")
    table(rows)
    print("Time with scoring: " + ", ".join(times))


if __name__ == "__main__":
    main()
