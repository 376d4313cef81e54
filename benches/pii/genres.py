"""The kinds of text that go through a router: chat, logs, CVs, invoices, source code, tool calls."""

import json

from phrases import HARMLESS, PERSONAL, phrases
from values import weighted

OPEN, CLOSE = "\ue000", "\ue001"
KIND_MARKS = {"card": "\ue010", "email": "\ue011", "phone": "\ue012", "iban": "\ue013", "ssn": "\ue014"}
MARK_KINDS = {mark: kind for kind, mark in KIND_MARKS.items()}


class Writer:
    """Writes texts of one locale; labels are marks of the private use area until `finish`."""

    def __init__(self, values):
        self.values, self.fake, self.rng = values, values.fake, values.rng
        self.phrases = phrases(values.locale)

    def secret(self, kind):
        return f"{OPEN}{KIND_MARKS[kind]}{getattr(self.values, kind)()}{CLOSE}"

    def disguise(self, marked):
        """Now and then what an input method or a copy from a page makes of a number."""
        style = weighted(self.rng, {"": 94, "wide": 3, "hidden": 3})
        if style == "wide" and self.values.locale in ("ja_JP", "zh_CN"):
            return "".join(chr(ord(c) + 0xFEE0) if "0" <= c <= "9" else c for c in marked)
        if style == "hidden" and len(marked) > 9:
            at = self.rng.randint(5, len(marked) - 3)
            return marked[:at] + "\u200b" + marked[at:]
        return marked

    def kind(self):
        kinds = dict.fromkeys(PERSONAL, 10)
        if self.values.locale == "en_US":
            kinds["ssn"] = 12
        return weighted(self.rng, kinds)

    def personal(self):
        kind = self.kind()
        return self.rng.choice(self.phrases[kind]).format(self.disguise(self.secret(kind)))

    def harmless(self):
        name = self.rng.choice(list(HARMLESS))
        return self.rng.choice(self.phrases[name]).format(getattr(self.values, HARMLESS[name])())

    def sentence(self):
        return self.fake.sentence()

    def mix(self, clean, personal, others):
        """Lines in random order."""
        lines = [] if clean else [self.personal() for _ in range(personal)]
        lines += [self.rng.choice([self.harmless, self.harmless, self.sentence])() for _ in range(others)]
        self.rng.shuffle(lines)
        return lines

    def chat(self, clean):
        glue = "" if self.values.locale in ("ja_JP", "zh_CN") else " "
        lines = self.mix(clean, self.rng.choice([1, 1, 2]), self.rng.randint(1, 4))
        glue = self.rng.choice([glue, glue, "\n"])
        text = lines[0]
        for line in lines[1:]:
            # Nobody writes two numbers as one word.
            touch = text[-1:].isascii() and text[-1:].isalnum() or text[-1:] in (OPEN, CLOSE)
            text += (glue or (" " if touch else "")) + line
        return text

    def log(self, clean):
        rng, values, lines = self.rng, self.values, []
        for _ in range(rng.randint(3, 8)):
            stamp = rng.choice([self.fake.iso8601() + "Z", self.fake.date_time().strftime("%d/%b/%Y:%H:%M:%S +0200"),
                                f"{self.fake.date()} {self.fake.time()},{rng.randint(0, 999):03d}"])
            lines.append(f"{stamp} {rng.choice(['INFO', 'WARN', 'ERROR', 'DEBUG'])} " + rng.choice([
                lambda: f"request_id={self.fake.uuid4()} order={values.order_number()} took={rng.randint(1, 9999)}ms",
                lambda: f"GET /api/v1/items/{values.digits(10)}?page={rng.randint(1, 99)} 200 {rng.randint(100, 99999)} {self.fake.ipv4()}",
                lambda: f"trace={rng.getrandbits(128):032x} span={rng.getrandbits(64):016x} user_id={values.digits(16)}",
                lambda: f"[{rng.randint(1000, 99999)}] offset {values.digits(9)} partition {rng.randint(0, 64)} lag {values.digits(7)}",
                lambda: f"position {values.coordinates()} speed {rng.uniform(0, 30):.2f}",
                lambda: f"batch {values.digits(10)}-{values.digits(5)} rows {values.digits(9)}",
                lambda: rng.choice([
                    f"Message-ID: <{rng.randint(10**13, 10**14)}.{values.digits(4)}@{self.fake.hostname()}> queued",
                    f"connect deploy@{self.fake.hostname()}:/srv/app failed",
                    f"pool {rng.randint(1, 9)} of {rng.randint(10, 99)} busy, {rng.randint(0, 99)} % of {values.digits(8)} used",
                    f"retry in {rng.randint(1, 60)} s, attempt {rng.randint(1, 9)}, {self.sentence()}"]),
                lambda: f"amount={rng.randint(1, 999999)} currency=EUR ts={rng.randint(1600000000, 1790000000)}",
            ])())
        for _ in range(0 if clean else rng.choice([1, 2])):
            kind = self.kind()
            name = {"phone": ["phone", "msisdn", "to", "caller"], "email": ["email", "user", "from"], "card": ["card", "pan", "cc"],
                    "iban": ["iban", "account", "creditor"], "ssn": ["ssn"]}[kind]
            text = rng.choice(["{k}={v}", "{k}: {v}", "{k}=\"{v}\"", "{k}='{v}' ok"]).format(k=rng.choice(name), v=self.secret(kind))
            at = rng.randrange(len(lines))
            lines[at] += " " + text
        return "\n".join(lines)

    def cv(self, clean):
        rng, values, heads = self.rng, self.values, self.phrases["cv"]
        lines = [heads[0], self.fake.name(), ""]
        if not clean:
            lines += [heads[3]]
            for kind in rng.sample(["phone", "email"], rng.choice([1, 2, 2])):
                lines.append(rng.choice(self.phrases[kind] + ["{}", "{}"]).format(self.secret(kind)))
        lines += [self.fake.address().replace("\n", ", "), "", heads[1]]
        for _ in range(rng.randint(2, 5)):
            lines.append(f"{values.months()}  {self.fake.job()}, {self.fake.company()}")
            if rng.random() < 0.5:
                lines.append("- " + self.sentence())
        lines += ["", heads[2]]
        for _ in range(rng.randint(1, 3)):
            lines.append(f"{values.months()}: {self.fake.company()} ({rng.uniform(1, 5):.1f})")
        if rng.random() < 0.4:
            lines.append(values.date())
        return "\n".join(lines)

    def invoice(self, clean):
        rng, values, heads = self.rng, self.values, self.phrases["invoice"]
        lines = [f"{heads[0]} {values.order_number()}", self.fake.company(), self.fake.address(), f"{values.date()}", ""]
        for index in range(rng.randint(2, 5)):
            lines.append(rng.choice([
                lambda: f"{index + 1}  {self.fake.ean13()}  {rng.randint(1, 40)} x {rng.uniform(1, 999):.2f}  {rng.uniform(1, 9999):.2f}",
                lambda: f"{values.digits(4)}-{values.digits(3)}  {self.fake.word()}  {rng.randint(1, 99)}  {values.amount()}",
                lambda: f"{values.digits(8)}\t{self.fake.word()}\t{rng.randint(1, 9)}\t{rng.uniform(10, 9999):.2f}".replace(".", ","),
            ])())
        lines += [f"{heads[1]}: {values.amount()}", f"{heads[2]}: {values.date()}"]
        lines.append(rng.choice(["VAT DE{}", "USt-IdNr. DE{}", "SIRET {} 00012", "NIP {}", "Ref {}"]).format(values.digits(9)))
        if not clean:
            lines.append(f"{heads[3]}:")
            for kind in rng.sample(["iban", "iban", "phone", "email", "card"], rng.choice([1, 2, 2, 3])):
                lines.append(rng.choice(self.phrases[kind] + ["{}"]).format(self.secret(kind)))
        if rng.random() < 0.5:
            lines.append(rng.choice(self.phrases["hours"]).format(values.hours()))
        return "\n".join(lines)

    def code(self, clean):
        rng, values, fake = self.rng, self.values, self.fake
        host = fake.domain_name()
        parts = [rng.choice([
            lambda: f"git clone git@{host}:{fake.user_name()}/{fake.user_name()}.git",
            lambda: f"@app.route('/v1/items/<int:id>')\ndef item(id):\n    return db.query({rng.randint(0, 9)}, limit={values.digits(4)})",
            lambda: f"@@ -{rng.randint(1, 999)},{rng.randint(1, 99)} +{rng.randint(1, 999)},{rng.randint(1, 99)} @@ fn main()\n"
                    f"-const SEED: u64 = {values.digits(12)};\n+const SEED: u64 = {values.digits(12)};\n-{values.digits(11)}\n+{values.digits(11)}",
            lambda: f"const CENTER = [{rng.uniform(-179, 179):.6f}, {rng.uniform(-89, 89):.6f}];",
            lambda: f"let id: u64 = {values.digits(16)}; // {values.technical()}",
            lambda: f"scale = model.weights @ other.data.T + {rng.uniform(0, 1):.12f}",
            lambda: f"  \"version\": \"{rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 999)}\",\n  \"@types/node\": \"^{rng.randint(10, 22)}.{rng.randint(0, 9)}.0\"",
            lambda: f"postgres://app:{fake.password(8, special_chars=False)}@db.{host}:5432/app",
            lambda: f"assert parse('{values.digits(3)}-{values.digits(4)}') == {values.digits(7)}  # {values.date()}",
            lambda: f"0000{rng.getrandbits(12):03x}0: " + " ".join(f"{rng.getrandbits(16):04x}" for _ in range(8)),
            lambda: f"ssh -i key.pem ubuntu@ec2-{fake.ipv4().replace('.', '-')}.compute.amazonaws.com",
            lambda: f"MAX = {values.digits(10)}\nMIN = -{values.digits(10)}\nSTEPS = [{', '.join(values.digits(4) for _ in range(6))}]",
            lambda: f"echo {rng.randint(0, 7)}{rng.randint(0, 7)}{rng.randint(0, 7)}{rng.randint(0, 7)} && chmod 0755 run && sleep {rng.randint(1, 60)}",
            lambda: f"uses: actions/checkout@v{rng.randint(1, 5)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}\nimage: registry/{fake.user_name()}@sha256:{rng.getrandbits(256):064x}",
        ])() for _ in range(rng.randint(2, 5))]
        for _ in range(0 if clean else rng.choice([1, 2])):
            kind = self.kind()
            name = {"phone": "phone", "email": "email", "card": "cardNumber", "iban": "iban", "ssn": "ssn"}[kind]
            secret = self.secret(kind).replace("\n", " ")
            people = [f"// TODO ask {secret}", f"# reported by {secret}"] if kind in ("phone", "email") else []
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(people + [
                f"{name} = \"{secret}\"", f"  {name}: '{secret}',",
                f"test('{name}', () => expect(mask('{secret}')).toBe('***'));", f"INSERT INTO t VALUES ({rng.randint(1, 999)}, '{secret}');",
                f"<td>{secret}</td>"]))
        return "\n".join(parts)

    def tool_call(self, clean):
        rng, values = self.rng, self.values
        arguments = {}
        for key, value in rng.sample([
            ("order_id", values.order_number()), ("limit", rng.randint(1, 500)), ("created_at", self.fake.iso8601()),
            ("tracking", values.tracking()), ("lat", round(rng.uniform(-89, 89), 6)), ("lon", round(rng.uniform(-179, 179), 6)),
            ("request_id", self.fake.uuid4()), ("query", self.sentence()), ("user_id", int(values.digits(16))),
            ("ts", rng.randint(1600000000000, 1790000000000)), ("hours", values.hours()), ("period", values.months()),
            ("amount", rng.randint(1, 99999)), ("note", self.harmless()), ("ids", [int(values.digits(12)) for _ in range(3)]),
        ], rng.randint(2, 6)):
            arguments[key] = value
        for _ in range(0 if clean else rng.choice([1, 2])):
            kind = self.kind()
            key = {"phone": ["phone", "to", "contact_number", "mobile"], "email": ["email", "to", "recipient"],
                   "card": ["card_number", "pan", "payment_method"], "iban": ["iban", "destination", "account"],
                   "ssn": ["ssn", "tax_payer"]}[kind]
            if rng.random() < 0.4:
                arguments[rng.choice(["text", "body", "comment"])] = f"{self.sentence()}\n{self.personal()}\n{self.harmless()}"
            else:
                arguments[rng.choice(key)] = self.secret(kind)
        items = list(arguments.items())
        rng.shuffle(items)
        text = json.dumps(dict(items), ensure_ascii=rng.random() < 0.3 and clean, indent=rng.choice([None, None, 2]))
        if rng.random() < 0.4:
            text = json.dumps({"id": f"call_{values.digits(8)}", "type": "function",
                               "function": {"name": self.fake.word(), "arguments": text}}, ensure_ascii=False)
        return text


def finish(marked):
    """The text without marks, and the labels with ranges of characters."""
    text, spans, start, kind = [], [], None, None
    marks = iter(marked)
    for c in marks:
        if c == OPEN:
            start, kind = len(text), MARK_KINDS[next(marks)]
        elif c == CLOSE:
            spans.append({"kind": kind, "start": start, "end": len(text)})
        else:
            text.append(c)
    return "".join(text), spans
