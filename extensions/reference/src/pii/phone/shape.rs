//! How people group the digits of a phone number, and what is grouped alike and is none: dates,
//! hours, amounts, versions, addresses of machines.

use super::number::Number;

/// Writes the digits of the first groups without the "(0)" that is not dialled from abroad.
pub(super) fn without_bracketed_zero<'b>(
    number: &Number<'_>,
    count: usize,
    buffer: &'b mut [u8],
) -> &'b [u8] {
    let bracketed = (1..count.saturating_sub(1)).find(|index| {
        number.size(*index) == 1
            && number.value(*index) == 0
            && number.gap(index - 1).ends_with('(')
            && number.gap(*index).starts_with(')')
    });
    let zero_at = bracketed.map(|index| number.digits(index).len());
    let mut length = 0;
    for (at, digit) in number.digits(count).iter().enumerate() {
        if Some(at) == zero_at {
            continue;
        }
        if let Some(free) = buffer.get_mut(length) {
            *free = *digit;
            length += 1;
        }
    }
    buffer.get(..length).unwrap_or_default()
}

/// Russia and its neighbours dial 8, Hungary 06; without zero the whole form must fit.
pub(super) fn may_have_other_trunk(number: &Number<'_>) -> bool {
    let eight = number.size(0) == 1 && number.value(0) == 8 && number.size(1) == 3;
    eight
        && (number.gap(0).contains('(') || matches!(number.gap(0), " " | "-"))
        && number.digits(number.count()).len() >= 11
}

/// A trunk prefix with an area code, then the rest in groups of at least two.
pub(super) fn is_trunk_form(number: &Number<'_>, count: usize) -> bool {
    let total = number.digits(count).len();
    let first = number.size(0);
    if !(9..=12).contains(&total) || is_date(number) || is_machine_address(number, count) {
        return false;
    }
    if first == 1 {
        // "0 532 123 45 67", "8 (912) 345-67-89"
        return number.size(1) == 3
            && total == 11
            && count >= 3
            && rest_is_uniform(number, count, 1);
    }
    let sized = number
        .sizes(count)
        .skip(1)
        .all(|size| (2..=8).contains(&size))
        || has_extension_digit(number, count);
    (2..=6).contains(&first)
        && sized
        && rest_is_uniform(number, count, 0)
        && !is_hours(number, count)
        && !is_chain_of_pairs(number, count)
}

/// "030 123456-0": the last digit is the central extension.
fn has_extension_digit(number: &Number<'_>, count: usize) -> bool {
    count >= 3
        && number.size(count - 1) == 1
        && number.gap(count - 2) == "-"
        && number
            .sizes(count - 1)
            .skip(1)
            .all(|size| (2..=8).contains(&size))
}

/// The area code may be parted in its own way; behind it one separator is used throughout, but for
/// the last one.
fn rest_is_uniform(number: &Number<'_>, count: usize, area: usize) -> bool {
    let mut rest = number.gaps(count).skip(area + 1);
    let Some(first) = rest.next() else {
        return true;
    };
    let last = count - 2;
    let opening = number.gap(area);
    let plain = matches!(first, " " | "-" | "." | "\u{200b}");
    let dots_fit = first != "." || opening == "." || opening.contains(')') || opening == "/";
    plain
        && dots_fit
        && number
            .gaps(count)
            .enumerate()
            .skip(area + 2)
            .all(|(index, gap)| gap == first || index == last && gap == "-" && first == " ")
}

/// Whether the groups are joined as those of one number are; versions and decimals
/// have points.
pub(super) fn is_steady(number: &Number<'_>) -> bool {
    let count = number.count();
    rest_is_uniform(number, count, 0) && (number.gap(0) != "." || has_common_groups(number))
}

/// "01.02.03.04" is a version; French numbers have five pairs.
fn is_chain_of_pairs(number: &Number<'_>, count: usize) -> bool {
    let pairs = number.sizes(count).all(|size| size == 2);
    pairs && count != 5
}

/// "0800-1700", "08.00 - 17.00", "2019-2021".
pub(super) fn is_hours(number: &Number<'_>, count: usize) -> bool {
    let fours = number.sizes(count).all(|size| size == 4);
    let times =
        (0..count).all(|index| number.value(index) <= 2400 && number.value(index) % 100 < 60);
    fours && count == 2 && times
}

/// "01.02.2024 10", "01-02-24 1030", "03.2019 - 05.2021", "2024-01-02": day, month and year in any
/// order. French numbers have pairs of digits as well, but one separator throughout.
pub(super) fn is_date(number: &Number<'_>) -> bool {
    let sizes = (number.size(0), number.size(1), number.size(2));
    let is_year =
        |index: usize| number.size(index) == 4 && (1900..=2100).contains(&number.value(index));
    let gap = number.gap(0);
    let joined = matches!(gap, "." | "-" | "/" | " ");
    match sizes {
        (1..=2, 1..=2, 2 | 4) => {
            let first = number.value(0);
            let second = number.value(1);
            let day_and_month = first <= 31 && second <= 12 || first <= 12 && second <= 31;
            let ends = number.size(3) == 0 || number.gap(2) != number.gap(1);
            joined && day_and_month && gap == number.gap(1) && (is_year(2) || sizes.2 == 2 && ends)
        }
        (1..=2, 4, _) => {
            // "03.2019 - 05.2021", "03/2019"
            let month = (1..=12).contains(&number.value(0));
            month && is_year(1) && matches!(gap, "." | "/" | "-")
        }
        (4, 1..=2, _) => is_year(0) && number.value(1) <= 12 && joined,
        (4, 4, _) => is_year(0) && is_year(1),
        _ => false,
    }
}

fn is_machine_address(number: &Number<'_>, count: usize) -> bool {
    count == 4
        && (0..4).all(|index| number.size(index) <= 3 && number.value(index) <= 255)
        && number.gaps(count).all(|gap| gap == ".")
}

/// Whether a number with a trunk prefix may end before a group that follows: white space, or
/// another number behind a stroke.
pub(super) fn may_break(number: &Number<'_>, count: usize) -> bool {
    number.may_end(count)
        && matches!(number.gap(count - 1), " " | " (" | " / " | " - ")
        && !is_date(number)
}

/// Three, three and four digits, behind a 1 that is skipped. An area code that nobody has is taken
/// for one only with hyphens or brackets, as in examples.
pub(super) fn is_north_american(number: &Number<'_>, skip: usize) -> bool {
    let mut sizes = number.sizes(number.count()).skip(skip);
    let sized = (sizes.next(), sizes.next(), sizes.next()) == (Some(3), Some(3), Some(4));
    let count = skip + 3;
    if !sized || number.count() < count {
        return false;
    }
    let starts = |index: usize, least: u8| {
        let at = number.digits(index).len();
        number
            .digits(count)
            .get(at)
            .is_some_and(|digit| (least..=b'9').contains(digit))
    };
    let opening = number.gap(skip);
    let second = number.gap(skip + 1);
    let in_brackets = matches!(opening, ")" | ") " | ")-" | ") - " | ").")
        && (number.bracket || skip == 1)
        && matches!(second, "-" | " " | "." | " - ");
    let plain = matches!(
        (opening, second),
        ("-", "-") | (".", ".") | (" ", " " | "-") | ("/", "-")
    );
    let country = skip == 0 || matches!(number.gap(0), " " | "-" | "." | " (" | "-(" | "(");
    starts(skip, b'2') && starts(skip + 1, b'2') && country && (in_brackets || plain)
}

/// The groups in which countries without trunk prefix write their numbers.
#[rustfmt::skip]
const COMMON: &[&[usize]] = &[
    &[3, 4], &[4, 4], &[2, 2, 2, 2], &[3, 2, 3], &[2, 3, 3], &[3, 3, 2],
    &[3, 3, 3], &[3, 2, 2, 2], &[2, 3, 2, 2], &[1, 4, 4], &[5, 4], &[3, 6], &[2, 7],
    &[3, 3, 4], &[2, 4, 4], &[5, 5], &[3, 3, 2, 2], &[4, 3, 3], &[3, 7], &[4, 6], &[2, 2, 2, 2, 2],
    &[2, 5, 4], &[3, 4, 4], &[3, 8],
];

/// Whether a number is written as one without trunk prefix.
pub(super) fn is_common(number: &Number<'_>) -> bool {
    is_uniform(number) && has_common_groups(number)
}

fn has_common_groups(number: &Number<'_>) -> bool {
    let sizes = number.sizes(number.count());
    COMMON
        .iter()
        .any(|groups| sizes.clone().eq(groups.iter().copied()))
}

/// One separator throughout; behind an area code in brackets, or before the last group, another.
fn is_uniform(number: &Number<'_>) -> bool {
    let count = number.count();
    let opening = number.gap(0);
    if number.bracket {
        let closed = matches!(opening, ")" | ") " | ")-");
        return closed
            && number
                .gaps(count)
                .skip(1)
                .all(|gap| matches!(gap, " " | "-"));
    }
    let uniform =
        matches!(opening, " " | "-" | "\u{200b}") && number.gaps(count).all(|gap| gap == opening);
    let last = count - 2;
    let mixed = opening == " "
        && number
            .gaps(count)
            .enumerate()
            .all(|(index, gap)| gap == if index == last { "-" } else { " " });
    uniform || mixed && count >= 3
}

/// Forms that much else is written in: two groups, a date, pairs with hyphens, less than eight
/// digits.
pub(super) fn needs_a_word(number: &Number<'_>) -> bool {
    let count = number.count();
    let total = number.digits(count).len();
    let pairs = number.sizes(count).all(|size| size == 2);
    let indian = count == 2 && number.size(0) == 5 && number.size(1) == 5 && number.gap(0) == " ";
    total < 8
        || is_date(number)
        || count == 2 && !number.bracket && !indian
        || pairs && number.gap(0) != " "
        || number.size(0) == 1
        || number.sizes(count).all(|size| size == 4)
}

/// Thousands before a unit or behind a currency, and what is computed with.
pub(super) fn is_quantity(text: &str, number: &Number<'_>, count: usize) -> bool {
    let after = text.get(number.end(count)..).unwrap_or_default();
    let unit = after.strip_prefix(' ').unwrap_or(after);
    let touching = text.get(..number.start).unwrap_or_default();
    let before = touching.trim_end_matches(' ');
    let compared = before.len() < touching.len() && before.ends_with(['=', '<', '>', '*']);
    UNITS.iter().any(|name| unit.starts_with(name))
        || compared
        || before.ends_with(['€', '$', '£', '¥', '₹', '≈', '~'])
        || CURRENCIES.iter().any(|name| before.ends_with(name))
}

#[rustfmt::skip]
const UNITS: &[&str] = &[
    "€", "$", "£", "¥", "₹", "%", "EUR", "USD", "GBP", "CHF", "PLN", "CZK", "SEK", "NOK", "DKK", "HUF", "RUB", "JPY",
    "CNY", "BRL", "kr", "zł", "Kč", "Ft", "руб", "₽", "円", "元", "원", "km", "kg", "m²", "bytes", "Bytes", "KB", "MB",
    "GB", "ms", "euro", "Euro", "dollar", "people", "inhabitants", "Einwohner", "habitants", "habitantes", "abitanti",
    "mieszkańców", "rows", "records", "requests",
];

const CURRENCIES: &[&str] = &[
    "EUR", "USD", "GBP", "CHF", "PLN", "R$", "Rs", "Rs.", "INR", "BRL",
];
