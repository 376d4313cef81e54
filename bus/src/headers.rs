//! NATS headers from and for the outside.
//!
//! The NATS client turns text into a header by a conversion that panics on a line break, and looks
//! names up with regard to case. Text from outside goes through this module instead.

use std::str::FromStr;

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};

/// Headers of one message that are read; more are refused.
pub const MOST_HEADERS: usize = 64;
/// Their bytes on the wire, all together.
pub const MOST_BYTES: usize = 16 * 1024;

/// The first value under this name, whatever its case, without blanks around it. Of several
/// spellings the name's own comes first: a hash map has them in no order.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    spellings(headers, name)
        .min_by_key(|(key, _)| {
            let key: &'a str = AsRef::<str>::as_ref(*key);
            (key != name, key)
        })
        .and_then(|(_, values)| values.first())
        .map(|value| value.as_str().trim())
}

/// All values under this name, whatever its case, as one: those of the name's own spelling first.
/// For headers that are lists.
pub fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut spelled: Vec<(&str, &Vec<HeaderValue>)> = spellings(headers, name)
        .map(|(key, values)| (AsRef::<str>::as_ref(key), values))
        .collect();
    spelled.sort_by_key(|(key, _)| (*key != name, *key));
    let values = spelled.into_iter().flat_map(|(_, values)| values);
    let values: Vec<&str> = values.map(|value| value.as_str().trim()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Whether there are several values under this name, in one spelling or in several.
pub fn is_repeated(headers: &HeaderMap, name: &str) -> bool {
    spellings(headers, name)
        .map(|(_, values)| values.len())
        .sum::<usize>()
        > 1
}

/// Whether they are so few and so short that they are read.
pub fn are_readable(headers: &HeaderMap) -> bool {
    let values = headers.iter().map(|(_, values)| values.len());
    values.sum::<usize>() <= MOST_HEADERS && wire_size(headers) <= MOST_BYTES
}

fn spellings<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> impl Iterator<Item = (&'a HeaderName, &'a Vec<HeaderValue>)> {
    let is_same = |key: &HeaderName| AsRef::<str>::as_ref(key).eq_ignore_ascii_case(name);
    headers.iter().filter(move |(key, _)| is_same(key))
}

/// `None` when the header is absent, `Some(None)` when it is no number of at most ten digits.
pub fn number<N: FromStr>(headers: &HeaderMap, name: &str) -> Option<Option<N>> {
    let plain =
        |text: &str| (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text(headers, name).map(|text| Some(text).filter(|t| plain(t)).and_then(|t| t.parse().ok()))
}

/// Sets a header, replacing what stood there.
pub fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), Unfit> {
    // A control character would pass the client, and confuse whoever shows or forwards the header.
    if value.chars().any(char::is_control) {
        return Err(Unfit { name });
    }
    let value: HeaderValue = value.parse().map_err(|_line_break| Unfit { name })?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// What these headers take on the wire in bytes, which counts towards the server's largest message.
pub fn wire_size(headers: &HeaderMap) -> usize {
    const FRAME: usize = "NATS/1.0\r\n\r\n".len();
    const LINE: usize = ": \r\n".len();
    let of_name = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(|value| LINE + name.len() + value.as_str().len())
            .sum::<usize>()
    };
    FRAME + headers.iter().map(of_name).sum::<usize>()
}

/// The value cannot be a header's. It is not repeated, because it may come from anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value of header {name} holds a line break or another control character")]
pub struct Unfit {
    pub name: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_list_are_joined_in_their_order() {
        let mut headers = HeaderMap::new();
        headers.append("Baggage", "c=3");
        headers.append("baggage", " a=1 ");
        headers.append("baggage", "b=2");
        assert_eq!(joined(&headers, "baggage").as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(joined(&headers, "tracestate"), None);
    }

    #[test]
    fn names_ignore_case_and_the_first_value_wins() {
        let mut headers = HeaderMap::new();
        headers.append("router-timeout-ms", " 250");
        headers.append("router-timeout-ms", "9");
        headers.append("Other", "-1");
        assert_eq!(number(&headers, "Router-Timeout-Ms"), Some(Some(250_u64)));
        assert_eq!(number::<u64>(&headers, "other"), Some(None));
        assert_eq!(number::<u64>(&headers, "absent"), None);
    }

    #[test]
    fn of_several_spellings_the_names_own_comes_first() {
        let spelled = |names: &[&str]| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(*name, *name);
            }
            headers
        };
        // The order of a hash map differs from map to map.
        for _ in 0..50 {
            let own = spelled(&["TENANT_ID", "tenant_id", "Tenant_Id"]);
            assert_eq!(text(&own, "tenant_id"), Some("tenant_id"));
            let others = spelled(&["Tenant_Id", "TENANT_ID", "tenant_ID"]);
            assert_eq!(text(&others, "tenant_id"), Some("TENANT_ID"));
            assert!(is_repeated(&others, "tenant_id"));
        }
        let mut twice = spelled(&["a"]);
        assert!(!is_repeated(&twice, "A") && !is_repeated(&twice, "b"));
        twice.append("a", "a");
        assert!(is_repeated(&twice, "A"));
    }

    #[test]
    fn too_many_headers_are_not_read() {
        let many = |count: usize, length: usize| {
            let mut headers = HeaderMap::new();
            for number in 0..count {
                headers.append(format!("h{number}").as_str(), "x".repeat(length).as_str());
            }
            are_readable(&headers)
        };
        assert!(many(0, 0) && many(MOST_HEADERS, 100) && many(1, MOST_BYTES - 100));
        assert!(!many(MOST_HEADERS + 1, 1) && !many(1, MOST_BYTES) && !many(MOST_HEADERS, 300));
        let mut repeated = HeaderMap::new();
        (0..=MOST_HEADERS).for_each(|_| repeated.append("a", ""));
        assert!(!are_readable(&repeated));
    }

    #[test]
    fn a_value_cannot_smuggle_a_line() {
        let mut headers = HeaderMap::new();
        for injection in ["a\r\nPUB x 0", "a\nb", "a\rb", "\0", "\u{7f}", "\u{1b}[2J"] {
            assert_eq!(
                insert(&mut headers, "tenant_id", injection),
                Err(Unfit { name: "tenant_id" }),
                "{injection:?}"
            );
        }
        assert!(headers.is_empty());
        for fine in ["", "acme", "Zoë", "a:b c"] {
            insert(&mut headers, "tenant_id", fine).unwrap();
            assert_eq!(text(&headers, "TENANT_ID"), Some(fine));
        }
    }

    #[test]
    fn the_size_is_that_of_the_wire() {
        let mut headers = HeaderMap::new();
        insert(&mut headers, "trace_id", "abc").unwrap();
        insert(&mut headers, "tenant_id", "acme").unwrap();
        assert_eq!(
            wire_size(&headers),
            "NATS/1.0\r\ntrace_id: abc\r\ntenant_id: acme\r\n\r\n".len()
        );
    }
}
