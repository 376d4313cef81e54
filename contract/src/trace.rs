//! W3C trace context: reads a `traceparent` header and continues it.

use std::fmt::Write;
use std::sync::Arc;

/// The trace that a request belongs to, and the router's own span in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 lower-case hexadecimal digits when it came from a `traceparent` or from this router; a caller's `trace_id`
    /// otherwise, whatever its form.
    pub trace_id: Arc<str>,
    traceparent: Arc<str>,
}

impl TraceContext {
    /// Continues `traceparent` if it is valid, else the caller's `trace_id`, else starts a trace. `entropy` gives the
    /// bits of new ids.
    pub fn resume(
        traceparent: Option<&str>,
        trace_id: Option<&str>,
        mut entropy: impl FnMut() -> u64,
    ) -> Self {
        let span_id = nonzero_hex(16, &mut entropy);
        let (trace, flags) = match traceparent.and_then(parse) {
            Some((trace, flags)) => (trace.to_owned(), flags.to_owned()),
            None => match trace_id.filter(|id| is_trace_id(id)) {
                Some(id) => (id.to_owned(), "01".to_owned()),
                None => (nonzero_hex(32, &mut entropy), "01".to_owned()),
            },
        };
        let traceparent = format!("00-{trace}-{span_id}-{flags}");
        Self {
            trace_id: trace_id.unwrap_or(&trace).into(),
            traceparent: traceparent.into(),
        }
    }

    /// The header for a call: same trace, this router's span as the parent.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    pub fn shared_traceparent(&self) -> Arc<str> {
        Arc::clone(&self.traceparent)
    }
}

/// Trace id and flags of a valid header. An invalid one is no error: a new trace starts instead.
fn parse(header: &str) -> Option<(&str, &str)> {
    let mut parts = header.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sized = is_hex(version, 2) && is_trace_id(trace) && is_hex(span, 16) && is_hex(flags, 2);
    let more = parts.next().is_some();
    (sized && version != "ff" && !(version == "00" && more) && span.bytes().any(|b| b != b'0'))
        .then_some((trace, flags))
}

fn is_trace_id(text: &str) -> bool {
    is_hex(text, 32) && text.bytes().any(|b| b != b'0')
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn nonzero_hex(digits: usize, entropy: &mut impl FnMut() -> u64) -> String {
    let mut text = String::with_capacity(digits);
    while text.len() < digits {
        let _ = write!(text, "{:016x}", entropy().max(1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn a_valid_header_is_continued_with_a_new_span() {
        let trace = TraceContext::resume(Some(VALID), None, || 7);
        assert_eq!(&*trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            trace.traceparent(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-00"
        );
    }

    #[test]
    fn an_invalid_header_starts_a_new_trace() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            let trace = TraceContext::resume(Some(bad), None, || 1);
            assert_eq!(
                &*trace.trace_id, "00000000000000010000000000000001",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_trace_id_of_any_form_is_kept_for_correlation() {
        let trace = TraceContext::resume(None, Some("my-trace"), || 1);
        assert_eq!(&*trace.trace_id, "my-trace");
        assert!(parse(trace.traceparent()).is_some());
        let w3c = TraceContext::resume(None, Some("4bf92f3577b34da6a3ce929d0e0e4736"), || 1);
        assert!(
            w3c.traceparent()
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        );
    }
}
