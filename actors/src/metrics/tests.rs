use super::*;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

fn label(metrics: &Metrics, id: &str) -> ExtensionStatus {
    ExtensionStatus {
        extension_id: metrics.extension(id),
        status: "success",
    }
}

fn shown(metrics: &Metrics) -> String {
    let mut registry = Registry::default();
    registry.register("calls", "x", metrics.extension_requests.clone());
    registry.register("fallbacks", "x", metrics.fallbacks.clone());
    let mut text = String::new();
    encode(&mut text, &registry).expect("encoded");
    text
}

#[test]
fn a_million_extensions_have_two_hundred_series_and_one() {
    let metrics = Metrics::default();
    for n in 0..1_000_000 {
        let label = label(&metrics, &format!("extension-{n}"));
        metrics.extension_requests.of(&label).inc();
    }
    let shown = shown(&metrics);
    assert_eq!(shown.matches("calls_total{").count(), MOST_EXTENSIONS + 1);
    let others = 1_000_000 - MOST_EXTENSIONS;
    let line = format!(r#"calls_total{{extension_id="other",status="success"}} {others}"#);
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn the_series_of_an_extension_that_is_gone_end_and_make_room() {
    let metrics = Metrics::default();
    for n in 0..MOST_EXTENSIONS {
        let label = label(&metrics, &format!("e{n}"));
        metrics.extension_requests.of(&label).inc();
    }
    assert_eq!(&*metrics.extension("late"), OTHER);
    metrics.fell_back("e0", "e1");
    metrics.fell_back("e1", "e2");
    metrics.retain_extensions(|id| id != "e0");
    let shown = shown(&metrics);
    assert!(!shown.contains(r#""e0""#), "{shown}");
    assert!(
        shown.contains(r#"fallbacks_total{from="e1",to="e2"} 1"#),
        "{shown}"
    );
    assert_eq!(&*metrics.extension("late"), "late");
}

#[test]
fn what_is_registered_anew_counts_from_zero() {
    let metrics = Metrics::default();
    metrics
        .extension_requests
        .of(&label(&metrics, "guard"))
        .inc();
    metrics.retain_extensions(|_| false);
    let again = metrics.extension_requests.of(&label(&metrics, "guard"));
    again.inc();
    assert!(shown(&metrics).contains(r#"calls_total{extension_id="guard",status="success"} 1"#));
}

#[test]
fn pairs_beyond_the_most_are_others() {
    let metrics = Metrics::default();
    for n in 0..2 * MOST_FALLBACKS {
        metrics.fell_back("model", &format!("model-{n}"));
    }
    let line = format!(r#"fallbacks_total{{from="other",to="other"}} {MOST_FALLBACKS}"#);
    assert!(shown(&metrics).contains(&line));
}

#[test]
fn only_an_id_as_w3c_has_them_becomes_an_exemplar() {
    let is_taken = |id: &str| TraceLabel::of(&id.into()).is_some();
    assert!(is_taken("4bf92f3577b34da6a3ce929d0e0e4736"));
    for odd in [
        "",
        "order-4711",
        &"a".repeat(200),
        &"x".repeat(32),
        "4bf92f3577b34da6a3ce929d0e0e473\"",
    ] {
        assert!(!is_taken(odd), "{odd}");
    }
}
