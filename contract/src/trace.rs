//! W3C trace context: reads a `traceparent` header and continues it.
//!
//! The router continues the trace of a request, and an extension that of a call.

use std::fmt::Write;
use std::sync::Arc;

use serde::Deserialize;

/// The trace that a request belongs to, and the router's own span in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 lower-case hexadecimal digits when it came from a `traceparent` or from this router;
    /// a caller's `trace_id` otherwise, whatever its form.
    pub trace_id: Arc<str>,
    /// What came with it, for whoever is called.
    pub carried: Carried,
    traceparent: Arc<str>,
}

/// The headers of a trace that are passed on as they came. Clones share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    pub tracestate: Option<Arc<str>>,
    pub baggage: Option<Arc<str>>,
}

/// W3C asks for 512 characters at least.
const LONGEST_TRACESTATE: usize = 2048;
/// As W3C has it.
const LONGEST_BAGGAGE: usize = 8192;

impl Carried {
    /// What is longer than anybody has to take, or is no printable ASCII, is left out as a whole: a
    /// part of it would say something else. A `tracestate` without a `traceparent` that it could
    /// belong to means nothing.
    pub fn new(traceparent: Option<&str>, tracestate: Option<&str>, baggage: Option<&str>) -> Self {
        let fits = |text: &&str, longest: usize| {
            let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            !text.is_empty() && text.len() <= longest && is_plain
        };
        let belongs = traceparent.and_then(Header::parse).is_some();
        Self {
            tracestate: tracestate
                .filter(|text| belongs && fits(text, LONGEST_TRACESTATE))
                .map(Arc::from),
            baggage: baggage
                .filter(|text| fits(text, LONGEST_BAGGAGE))
                .map(Arc::from),
        }
    }
}

impl TraceContext {
    /// Continues `traceparent` if it is valid, else the caller's `trace_id`, else starts a trace.
    /// `entropy` gives the bits of new ids.
    pub fn resume(
        traceparent: Option<&str>,
        trace_id: Option<&str>,
        mut entropy: impl FnMut() -> u64,
    ) -> Self {
        let span_id = nonzero_hex(16, &mut entropy);
        let new_trace;
        let (trace, flags) = match traceparent.and_then(Header::parse) {
            Some(parent) => (parent.trace_id, parent.flags),
            None => match trace_id.filter(|id| is_trace_id(id)) {
                Some(id) => (id, SAMPLED),
                None => {
                    new_trace = nonzero_hex(32, &mut entropy);
                    (new_trace.as_str(), SAMPLED)
                }
            },
        };
        let traceparent = format!("00-{trace}-{span_id}-{flags}");
        Self {
            trace_id: trace_id.unwrap_or(trace).into(),
            carried: Carried::default(),
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

/// A valid `traceparent`: whose span a call belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TraceParent {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// 16 lower-case hexadecimal digits.
    pub parent_id: String,
    pub sampled: bool,
}

impl TraceParent {
    /// `None` when the header is invalid; the recommendation asks to ignore such a one.
    pub fn parse(header: &str) -> Option<Self> {
        let header = Header::parse(header)?;
        let flags = u8::from_str_radix(header.flags, 16).ok()?;
        Some(Self {
            trace_id: header.trace_id.to_owned(),
            parent_id: header.parent_id.to_owned(),
            sampled: flags & 1 == 1,
        })
    }
}

/// The flags of a trace that begins here.
const SAMPLED: &str = "01";

/// The parts of a valid header as they are written. Flags that are not known here are passed on.
struct Header<'a> {
    trace_id: &'a str,
    parent_id: &'a str,
    flags: &'a str,
}

impl<'a> Header<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let version = parts.next().filter(|text| is_hex(text, 2))?;
        let trace_id = parts.next().filter(|text| is_trace_id(text))?;
        let parent_id = parts.next().filter(|text| is_span_id(text))?;
        let flags = parts.next().filter(|text| is_hex(text, 2))?;
        // Later versions may have more parts.
        let too_long = version == "00" && parts.next().is_some();
        if version == "ff" || too_long {
            return None;
        }
        Some(Self {
            trace_id,
            parent_id,
            flags,
        })
    }
}

fn is_trace_id(text: &str) -> bool {
    is_hex(text, 32) && text.bytes().any(|b| b != b'0')
}

fn is_span_id(text: &str) -> bool {
    is_hex(text, 16) && text.bytes().any(|b| b != b'0')
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
    fn flags_are_passed_on_as_they_came() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
        let trace = TraceContext::resume(Some(header), None, || 7);
        assert!(trace.traceparent().ends_with("-0000000000000007-03"));
        assert!(TraceParent::parse(header).is_some_and(|parent| parent.sampled));
        assert!(TraceParent::parse(VALID).is_some_and(|parent| !parent.sampled));
    }

    #[test]
    fn a_header_names_the_span_of_its_sender() {
        let parent = TraceParent::parse(VALID).expect("a valid header");
        assert_eq!(parent.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.parent_id, "00f067aa0ba902b7");
    }

    #[test]
    fn an_invalid_header_starts_a_new_trace() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
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
        assert!(TraceParent::parse(trace.traceparent()).is_some());
        let w3c = TraceContext::resume(None, Some("4bf92f3577b34da6a3ce929d0e0e4736"), || 1);
        assert!(
            w3c.traceparent()
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        );
    }

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn carried(tracestate: &str, baggage: &str) -> Carried {
        Carried::new(Some(PARENT), Some(tracestate), Some(baggage))
    }

    #[test]
    fn what_comes_with_a_trace_is_carried_as_it_is() {
        let state = "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE";
        let baggage = "userId=al%20ice;p=1,plan = gold";
        let carried = carried(state, baggage);
        assert_eq!(carried.tracestate.as_deref(), Some(state));
        assert_eq!(carried.baggage.as_deref(), Some(baggage));
        let alone = Carried::new(Some("00-no"), Some(state), Some(baggage));
        assert_eq!(
            (alone.tracestate, alone.baggage.as_deref()),
            (None, Some(baggage))
        );
    }

    #[test]
    fn what_is_too_long_or_no_plain_text_is_left_out_whole() {
        let state = "a".repeat(LONGEST_TRACESTATE);
        let baggage = "a".repeat(LONGEST_BAGGAGE);
        let longest = carried(&state, &baggage);
        assert!(longest.tracestate.is_some() && longest.baggage.is_some());
        let longer = carried(&(state + "a"), &(baggage + "a"));
        assert_eq!(longer, Carried::default());
        for odd in [
            "",
            "a=1\r\nb: 2",
            "a=\u{0}",
            "a=1,\tb=2",
            "a=\u{7f}",
            "a=\u{202e}b",
        ] {
            assert_eq!(carried(odd, odd), Carried::default(), "{odd:?}");
        }
    }
}
