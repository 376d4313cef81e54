//! Reading NATS headers of callers: names without regard to case, first value counts.

use std::str::FromStr;

use async_nats::HeaderMap;

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let same_name = |(key, _): &(&async_nats::HeaderName, _)| AsRef::<str>::as_ref(*key).eq_ignore_ascii_case(name);
    headers.iter().find(same_name).and_then(|(_, values)| values.first()).map(|value| value.as_str().trim())
}

/// `None` when the header is absent, `Some(None)` when it is no number of at most ten digits.
pub(crate) fn number<N: FromStr>(headers: &HeaderMap, name: &str) -> Option<Option<N>> {
    let plain = |text: &str| (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text(headers, name).map(|text| Some(text).filter(|t| plain(t)).and_then(|t| t.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
