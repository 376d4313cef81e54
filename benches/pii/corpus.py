"""Writes the labelled corpus: `corpus.py FILE [--texts 5400] [--seed 7]`, one JSON object a line."""

import argparse
import json
import random

from faker import Faker

from genres import Writer, finish
from values import REGIONS, Values

BANKS = ["en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "nl_NL", "de_CH", "no_NO"]
GENRES = ["chat", "log", "cv", "invoice", "code", "tool_call"]


def seeded(locale, seed):
    fake = Faker(locale, use_weighting=False)
    fake.seed_instance(seed)
    return fake


def texts(count, seed):
    each = count // (len(REGIONS) * len(GENRES))
    for locale in REGIONS:
        fake = seeded(locale, f"{seed}-{locale}")
        # Half of the account numbers are of the country, if Faker knows its form.
        abroad = [seeded(bank, f"{seed}-{locale}-{bank}") for bank in BANKS]
        at_home = [fake] if locale in BANKS else abroad[:1]
        values = Values(locale, fake, random.Random(f"{seed}-{locale}-values"), at_home * len(abroad) + abroad)
        writer = Writer(values)
        for genre in GENRES:
            for index in range(each):
                text, spans = finish(getattr(writer, genre)(clean=index % 3 == 0))
                yield {"id": f"{locale}-{genre}-{index}", "locale": locale, "genre": genre, "text": text, "spans": spans}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--texts", type=int, default=5400)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with open(options.file, "w", encoding="utf-8") as file:
        for text in texts(options.texts, options.seed):
            file.write(json.dumps(text, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
