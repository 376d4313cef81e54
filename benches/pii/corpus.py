"""Writes the labelled corpus: `corpus.py FILE [--texts 5400] [--seed 7]`, one JSON object a line."""

import argparse
import json
import random

from faker import Faker

from genres import Writer, finish
from values import REGIONS, Values

GENRES = ["chat", "log", "cv", "invoice", "code", "tool_call"]


def texts(count, seed):
    each = count // (len(REGIONS) * len(GENRES))
    for locale in REGIONS:
        # Some values of Faker exist in the American locale only.
        fake = Faker([locale] if locale == "en_US" else [locale, "en_US"], use_weighting=False)
        fake.seed_instance(f"{seed}-{locale}")
        one = fake[locale] if len(fake.locales) > 1 else fake
        values = Values(locale, one, random.Random(f"{seed}-{locale}-values"))
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
