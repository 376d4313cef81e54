//! In which of two formats the metrics are answered, and how the older is made of the newer one.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

/// A format that scrapers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Of Prometheus, which everything reads.
    Text,
    OpenMetrics,
}

/// Nobody names more.
const MOST_RANGES: usize = 32;

impl Format {
    /// The one that `Accept` likes best. Who does not say, likes both as much or would take
    /// neither, gets the older one, as everywhere.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter();
        let ranges = values.filter_map(|value| value.to_str().ok());
        let ranges = ranges.flat_map(|value| value.split(',')).take(MOST_RANGES);
        let mut openmetrics = 0.0_f32;
        let mut text = 0.0_f32;
        for (format, quality) in ranges.filter_map(read) {
            match format {
                Self::OpenMetrics => openmetrics = openmetrics.max(quality),
                Self::Text => text = text.max(quality),
            }
        }
        if openmetrics > text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }

    /// The metrics, which come as OpenMetrics, in this format.
    pub(super) fn of(self, openmetrics: String) -> String {
        match self {
            Self::Text => older(&openmetrics),
            Self::OpenMetrics => openmetrics,
        }
    }
}

/// What one range of the header likes, and how much.
fn read(range: &str) -> Option<(Format, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut quality = 1.0;
    for parameter in parts {
        match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
                quality = value.trim().parse().ok()?;
            }
            // Of another version we do not know what it is like.
            Some((name, value))
                if kind == "application/openmetrics-text"
                    && name.trim().eq_ignore_ascii_case("version")
                    && !matches!(value.trim().trim_matches('"'), "1.0.0" | "0.0.1") =>
            {
                return None;
            }
            Some(_) | None => {}
        }
    }
    let format = match kind.as_str() {
        "application/openmetrics-text" | "application/*" => Format::OpenMetrics,
        "text/plain" | "text/*" | "*/*" => Format::Text,
        _ => return None,
    };
    Some((format, quality))
}

/// Without what only OpenMetrics has: the end mark, units, times of creation, exemplars, and
/// families of counters and facts that are named without the ending of their samples.
fn older(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut help = None;
    let mut family = Family::default();
    for line in openmetrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            family = Family::read(typed);
            family.head(help.take(), &mut text);
        } else if !line.starts_with('#') && !family.is_creation(line) {
            text.push_str(without_exemplar(line));
            text.push('\n');
        }
    }
    text
}

/// What the older format calls the family whose samples follow.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
}

impl<'a> Family<'a> {
    fn read(typed: &'a str) -> Self {
        let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
        Self { name, kind }
    }

    fn head(&self, help: Option<(&str, &str)>, text: &mut String) {
        let ending = match self.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let kind = match self.kind {
            kind @ ("counter" | "gauge" | "histogram" | "summary") => kind,
            "info" | "stateset" => "gauge",
            _ => "untyped",
        };
        let name = self.name;
        if let Some((described, help)) = help
            && described == name
        {
            text.push_str(&format!("# HELP {name}{ending} {help}\n"));
        }
        text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
    }

    fn is_creation(&self, sample: &str) -> bool {
        let ending = sample.strip_prefix(self.name);
        let ending = ending.and_then(|rest| rest.strip_prefix("_created"));
        ending.is_some_and(|rest| rest.starts_with([' ', '{']))
    }
}

/// An exemplar follows the value; labels may hold the same signs, in quotes.
fn without_exemplar(sample: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, sign) in sample.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => return sample.get(..at).unwrap_or(sample).trim_end(),
            _ => {}
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Format::asked_for(&headers)
    }

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            &[prometheus][..],
            &["application/openmetrics-text"],
            &["Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"],
            &["text/plain;q=0.1", "application/openmetrics-text;q=0.2"],
        ] {
            assert_eq!(asked(accept), Format::OpenMetrics, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["text/plain;version=0.0.4"],
            &["application/json"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.3,text/plain;q=0.5"],
            &["application/openmetrics-text;version=9.0.0"],
            &["application/openmetrics-text;q=much"],
            &["application/openmetrics-text,*/*"],
            &[";;,=,"],
        ] {
            assert_eq!(asked(accept), Format::Text, "{accept:?}");
        }
    }

    #[test]
    fn the_older_format_has_nothing_that_only_the_newer_one_has() {
        let openmetrics = "\
# HELP requests Requests, answered or not.
# TYPE requests counter
requests_total{tenant=\"a # b\\\" # c\"} 7 # {trace_id=\"x\"} 1.0
requests_created{tenant=\"a\"} 1700000000.0
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_sum 1.5
wait_seconds_count 2
wait_seconds_bucket{le=\"0.5\"} 1 # {trace_id=\"y\"} 0.3
wait_seconds_bucket{le=\"+Inf\"} 2
wait_seconds_created 1700000000.0
# HELP build Which build.
# TYPE build info
build_info{version=\"1\"} 1
# TYPE created gauge
created 3
# TYPE odd unknown
odd 4
# EOF
";
        let text = "\
# HELP requests_total Requests, answered or not.
# TYPE requests_total counter
requests_total{tenant=\"a # b\\\" # c\"} 7
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_sum 1.5
wait_seconds_count 2
wait_seconds_bucket{le=\"0.5\"} 1
wait_seconds_bucket{le=\"+Inf\"} 2
# HELP build_info Which build.
# TYPE build_info gauge
build_info{version=\"1\"} 1
# TYPE created gauge
created 3
# TYPE odd untyped
odd 4
";
        assert_eq!(Format::Text.of(openmetrics.to_owned()), text);
        assert_eq!(Format::OpenMetrics.of(openmetrics.to_owned()), openmetrics);
    }
}
