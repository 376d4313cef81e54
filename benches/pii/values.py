"""Personal data and what only looks like it, in the forms in which people and programs write them."""

import random

import phonenumbers
from phonenumbers import PhoneNumberFormat

REGIONS = {
    "en_US": "US", "en_GB": "GB", "de_DE": "DE", "fr_FR": "FR", "es_ES": "ES",
    "it_IT": "IT", "pl_PL": "PL", "pt_BR": "BR", "ja_JP": "JP", "zh_CN": "CN",
}
# Market shares, roughly; Faker's "jcb15" has not been issued for decades.
CARDS = {"visa16": 40, "mastercard": 30, "amex": 12, "discover": 5, "diners": 4, "jcb16": 4,
         "maestro": 3, "visa13": 1, "visa19": 1}


def weighted(rng, choices):
    """One of the keys of a dict, by its values."""
    return rng.choices(list(choices), weights=list(choices.values()))[0]


def grouped(digits, sizes, separator):
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at:at + size])
        at += size
    if at < len(digits):
        parts.append(digits[at:])
    return separator.join(part for part in parts if part)


class Values:
    """Makes values of one locale from a seeded Faker and a seeded random."""

    def __init__(self, locale, fake, rng, banks):
        """`banks` are the Fakers whose locales have account numbers of their own."""
        self.locale, self.fake, self.rng, self.banks = locale, fake, rng, banks
        self.region = REGIONS[locale]

    # --- personal data -------------------------------------------------------------------------

    def card(self):
        kind = weighted(self.rng, CARDS)
        try:
            digits = self.fake.credit_card_number(kind)
        except KeyError:  # A locale with issuers of its own.
            digits = self.fake.credit_card_number()
        style = weighted(self.rng, {"bare": 40, " ": 30, "-": 15, ".": 4, "  ": 4, "/": 2, "\u00a0": 5})
        if style == "bare":
            return digits
        if len(digits) == 15:
            sizes = [4, 6, 5]
        elif len(digits) == 14:
            sizes = [4, 6, 4]
        else:
            sizes = [4, 4, 4, 4]
        return grouped(digits, sizes, style)

    def iban(self):
        iban = self.rng.choice(self.banks).iban()
        style = weighted(self.rng, {"bare": 45, " ": 45, "\u00a0": 3, "-": 2, "lower": 2, "line": 3})
        if style == "bare":
            return iban
        if style == "lower":
            return iban.lower()
        fours = grouped(iban, [4] * 9, " ")
        if style == "line":
            cut = fours.index(" ", 9)
            return fours[:cut] + "\n" + fours[cut + 1:]
        return fours if style == " " else fours.replace(" ", style)

    def email(self):
        rng, fake = self.rng, self.fake
        style = weighted(rng, {"free": 35, "company": 25, "names": 20, "tag": 8, "upper": 5, "deep": 7})
        if style == "free":
            return fake.ascii_free_email()
        if style == "company":
            return fake.ascii_company_email()
        user = fake.user_name()
        if style == "names":
            return f"{user[:1]}.{user[1:]}@{fake.domain_name()}"
        if style == "tag":
            return f"{user}+{fake.word().encode('ascii', 'ignore').decode() or 'news'}@{fake.free_email_domain()}"
        if style == "upper":
            return f"{user.capitalize()}@{fake.domain_name().upper()}"
        return f"{user}_{rng.randint(1, 99)}@mail-{rng.randint(1, 9)}.{fake.domain_name(2)}"

    def parsed_phone(self):
        """A number that exists in the numbering plan: Faker's digits where they do."""
        for _ in range(30):
            try:
                number = phonenumbers.parse(self.fake.phone_number().split("x")[0], self.region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number_for_region(number, self.region):
                return number
        for _ in range(1000):
            example = phonenumbers.example_number_for_type(
                self.region, self.rng.choice([phonenumbers.PhoneNumberType.MOBILE,
                                              phonenumbers.PhoneNumberType.FIXED_LINE]))
            digits = str(example.national_number)
            keep = self.rng.randint(2, 4)
            tail = "".join(str(self.rng.randint(0, 9)) for _ in digits[keep:])
            number = phonenumbers.PhoneNumber(example.country_code, int(digits[:keep] + tail))
            number.italian_leading_zero = example.italian_leading_zero
            if phonenumbers.is_valid_number_for_region(number, self.region):
                return number
        raise AssertionError(f"no phone number for {self.region}")

    def phone(self):
        rng = self.rng
        number = self.parsed_phone()
        style = weighted(rng, {"national": 36, "international": 26, "e164": 12, "faker": 10,
                               "bare": 6, "dots": 4, "exit": 3, "zero": 2, "own": 3})
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        if style == "international":
            return international
        if style == "e164":
            return phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if style == "bare":
            return "".join(c for c in national if c.isdigit())
        if style == "dots" and self.region in ("FR", "US", "IT", "DE"):
            return (international if self.region != "FR" else national).replace(" ", ".").replace("-", ".")
        if style == "exit":
            return "00" + international[1:]
        if style == "zero" and national.startswith("0"):
            code = international.split(" ")[0]
            return f"{code} (0){national[1:]}"
        if style == "own":
            digits = "".join(c for c in national if c.isdigit())
            return {
                "DE": lambda: f"{digits[:4]}/{grouped(digits[4:], [2, 2, 2, 2], ' ')}",
                "ES": lambda: grouped(digits, [3, 3, 3], rng.choice(" -")),
                "FR": lambda: grouped(digits, [2, 2, 2, 2, 2], "-"),
                "US": lambda: grouped(digits, [3, 3, 4], rng.choice([" ", ".", "-"])),
                "GB": lambda: grouped(digits, [5, 3, 3], " "),
                "PL": lambda: grouped(digits, [3, 3, 3], "-"),
                "IT": lambda: grouped(digits, [3, 3, 4], " "),
                "BR": lambda: grouped(digits, [2, 5 if len(digits) == 11 else 4, 4], " "),
                "JP": lambda: grouped(digits, [3, 4, 4], " "),
                "CN": lambda: grouped(digits, [3, 4, 4], "-"),
            }[self.region]()
        if style == "faker":
            for _ in range(20):
                written = self.fake.phone_number()
                try:
                    if phonenumbers.is_valid_number(phonenumbers.parse(written.split("x")[0], self.region)):
                        return written
                except phonenumbers.NumberParseException:
                    continue
        return national

    def ssn(self):
        ssn = self.fake.ssn()
        style = weighted(self.rng, {"-": 75, " ": 15, "bare": 10})
        if style == "bare":
            return ssn.replace("-", "")
        return ssn.replace("-", style)

    # --- what is no personal data --------------------------------------------------------------

    def digits(self, count):
        return str(self.rng.randint(1, 9)) + "".join(str(self.rng.randint(0, 9)) for _ in range(count - 1))

    def order_number(self):
        rng = self.rng
        return rng.choice([
            lambda: self.digits(rng.randint(6, 12)),
            lambda: f"{rng.randint(2015, 2026)}-{rng.randint(0, 9999999):07d}",
            lambda: f"{self.digits(3)}-{self.digits(7)}-{self.digits(7)}",
            lambda: f"{rng.randint(0, 9999999999):010d}",
            lambda: f"ORD-{self.digits(4)}-{self.digits(4)}",
            lambda: f"RE{self.digits(8)}",
            lambda: f"{self.digits(16)}",
            lambda: f"{self.digits(4)} {self.digits(4)} {self.digits(4)}",
        ])()

    def tracking(self):
        rng = self.rng
        return rng.choice([
            lambda: "1Z" + "".join(rng.choice("0123456789ABCDEF") for _ in range(16)),
            lambda: "".join(str(rng.randint(0, 9)) for _ in range(20)),
            lambda: f"{self.digits(12)}",
            lambda: f"{self.digits(4)} {self.digits(4)} {self.digits(4)}",
            lambda: f"RR{self.digits(9)}CN",
        ])()

    def date(self):
        rng = self.rng
        day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1990, 2026)
        return rng.choice([
            f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{day:02d}/{month:02d}/{year}",
            f"{day}.{month}.{year}", f"{day:02d}.{month:02d}.{year} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}",
            f"{day:02d}-{month:02d}-{year}", f"{day:02d} {month:02d} {year}", f"{year}{month:02d}{day:02d}",
        ])

    def months(self):
        rng = self.rng
        first = rng.randint(1998, 2020)
        second = first + rng.randint(0, 6)
        a, b = rng.randint(1, 12), rng.randint(1, 12)
        return rng.choice([
            f"{a:02d}.{first} - {b:02d}.{second}", f"{a:02d}/{first} - {b:02d}/{second}", f"{first} - {second}",
            f"{a:02d}.{first}–{b:02d}.{second}", f"{a:02d}/{first}-{b:02d}/{second}", f"{first}-{second}",
            f"{a:02d}.{first} – {b:02d}.{second}", f"{first}/{a:02d} - {second}/{b:02d}",
        ])

    def hours(self):
        rng = self.rng
        a, b = rng.randint(6, 10), rng.randint(14, 21)
        c, d = rng.choice(["00", "30"]), rng.choice(["00", "30"])
        return rng.choice([
            f"{a:02d}:{c} - {b}:{d}", f"{a:02d}:{c}-{b}:{d}", f"{a:02d}.{c} - {b}.{d}", f"{a:02d}{c}-{b}{d}",
            f"{a:02d}.{c}-12.30, 13.30-{b}.{d}", f"{a:02d}{c} - {b}{d}", f"{a}-{b}",
        ])

    def amount(self):
        rng = self.rng
        value = rng.randint(1000, 99999999)
        whole = f"{value:,}"
        return rng.choice([
            f"{whole}.{rng.randint(0, 99):02d} USD", f"{whole.replace(',', '.')},{rng.randint(0, 99):02d} EUR",
            f"{whole.replace(',', ' ')} EUR", f"€{whole}", f"${whole}.00", f"{whole.replace(',', ' ')},00 zł",
            f"¥{whole}", f"{value} {rng.choice(['EUR', 'USD', 'kr'])}",
        ])

    def coordinates(self):
        rng = self.rng
        lat, lon = rng.uniform(-89, 89), rng.uniform(-179, 179)
        return rng.choice([
            f"{lat:.6f}, {lon:.6f}", f"{lat:.6f} {lon:.6f}", f"{lat:.4f},{lon:.4f}", f"[{lon:.7f}, {lat:.7f}]",
            f"{abs(lat):.0f}°{rng.randint(0, 59)}'{rng.uniform(0, 59):.1f}\"N {abs(lon):.0f}°{rng.randint(0, 59)}'E",
        ])

    def technical(self):
        rng, fake = self.rng, self.fake
        return rng.choice([
            lambda: fake.uuid4(), lambda: fake.ipv4(), lambda: fake.ipv6(), lambda: fake.sha1(),
            lambda: fake.mac_address(), lambda: str(rng.randint(1600000000, 1790000000)),
            lambda: str(rng.randint(1600000000000, 1790000000000)), lambda: self.digits(19), lambda: self.digits(16),
            lambda: f"{rng.randint(0, 20)}.{rng.randint(0, 99)}.{rng.randint(0, 999)}.{rng.randint(0, 99999)}",
            lambda: f"{rng.uniform(0, 1):.16f}", lambda: f"0x{rng.getrandbits(64):016x}", lambda: fake.ean13(),
            lambda: fake.isbn13(), lambda: f"{rng.getrandbits(128):032x}",
        ])()
