//! The form of a log line, and what happens to lines that cannot be written.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use beamline_actors::metrics::Metrics;
use beamline_actors::tree::{Node, Root};
use beamline_contract::escape;
use parking_lot::Mutex;
use serde_json::Value;

use super::*;

/// Collects what is written.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn log(style: Style, filter: &str, work: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = page.clone();
    let log = log_to(style, filter, move || writer.clone());
    tracing::dispatcher::with_default(&log.events, work);
    page.text()
}

const HUMAN: Style = Style::Human { colours: false };
const HARMFUL: &str = "a\u{1b}[31m\u{7f}\u{9b}\r\n\u{202e}z";

#[test]
fn a_line_of_json_has_its_fields_at_the_top() {
    let text = log(Style::Json, "info", || {
        tracing::info!(extension_id = "pii_guard", latency_ms = 12, status = %"ok", "extension called");
        tracing::debug!("not in the log");
    });
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [line] = &lines[..] else { panic!("{text}") };
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "extension called");
    assert_eq!(line["extension_id"], "pii_guard");
    assert_eq!(line["latency_ms"], 12);
    assert_eq!(line["status"], "ok");
    humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
}

#[test]
fn the_nats_client_is_heard_only_by_name() {
    let attempt = || tracing::error!(target: "async_nats::connector", "authorization violation");
    assert_eq!(log(HUMAN, "debug", attempt), "");
    assert!(log(HUMAN, "info,async_nats=error", attempt).contains("authorization violation"));
}

#[test]
fn the_fields_of_the_current_span_are_in_an_object_of_their_own() {
    let text = log(Style::Json, "info", || {
        let _span =
            tracing::info_span!("router.extension.invoke", extension_id = HARMFUL).entered();
        tracing::info!("called");
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["span"]["name"], "router.extension.invoke");
    assert_eq!(line["span"]["extension_id"], HARMFUL);
}

#[test]
fn a_line_for_people_has_the_message_and_the_fields() {
    let text = log(HUMAN, "info", || {
        let _span = tracing::info_span!("call", tenant_id = "acme").entered();
        tracing::warn!(attempt = 2, reason = "too \"slow\"", "trying again");
    });
    let expected = " WARN call{tenant_id=\"acme\"}: beamline_router::observe::logs::tests: \
                    trying again attempt=2 reason=\"too \\\"slow\\\"\"\n";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn text_that_could_steer_a_terminal_or_fake_a_line_is_escaped_wherever_it_stands() {
    let work = || {
        let _span = tracing::info_span!("call", in_span = %HARMFUL, debug = HARMFUL).entered();
        tracing::info!(display = %HARMFUL, debug = ?HARMFUL, text = HARMFUL, "message {HARMFUL}");
        let error = io::Error::other(HARMFUL);
        tracing::error!(error = &error as &dyn std::error::Error, "{}", HARMFUL);
    };
    for style in [Style::Json, HUMAN] {
        let text = log(style, "info", work);
        assert_eq!(text.lines().count(), 2, "{text:?}");
        let harmful: Vec<char> = text
            .chars()
            .filter(|c| *c != '\n' && escape::is_unsafe(*c))
            .collect();
        assert_eq!(harmful, [' '; 0], "{text:?}");
    }
    let line: Value =
        serde_json::from_str(log(Style::Json, "info", work).lines().next().unwrap()).unwrap();
    assert_eq!(line["display"], HARMFUL, "the text itself is not lost");
    assert_eq!(line["message"], format!("message {HARMFUL}"));
}

#[test]
fn with_a_file_the_terminal_gets_the_warnings_and_both_get_harmless_text() {
    let file = Page::default();
    let terminal = Page::default();
    let log = {
        let file = file.clone();
        let terminal = terminal.clone();
        in_file_and_on_terminal(
            move || file.clone(),
            "debug",
            move || terminal.clone(),
            false,
        )
    };
    tracing::dispatcher::with_default(&log.events, || {
        let _span = tracing::info_span!("call", in_span = %HARMFUL).entered();
        tracing::debug!(display = %HARMFUL, "for the file");
        tracing::warn!(display = %HARMFUL, "for both");
        tracing::info!(recovered = true, "over again");
    });
    assert_eq!(file.text().lines().count(), 3, "{:?}", file.text());
    assert_eq!(terminal.text().lines().count(), 2, "{:?}", terminal.text());
    assert!(terminal.text().contains("for both") && terminal.text().contains("over again"));
    for character in (file.text() + &terminal.text()).chars() {
        assert!(character == '\n' || !escape::is_unsafe(character));
    }
}

#[test]
fn the_filter_counts_for_each_module() {
    let text = log(HUMAN, "warn,noisy=error", || {
        tracing::warn!("kept");
        tracing::warn!(target: "noisy", "left out");
    });
    assert!(
        text.contains("kept") && !text.contains("left out"),
        "{text}"
    );
}

#[test]
fn a_panic_is_an_event() {
    let text = log(Style::Json, "info", || {
        std::panic::set_hook(Box::new(panics::log));
        let caught = std::panic::catch_unwind(|| panic!("out of {}", "luck"));
        drop(std::panic::take_hook());
        caught.unwrap_err();
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "panicked");
    assert_eq!(line["error"], "out of luck");
    assert!(
        line["place"]
            .as_str()
            .unwrap()
            .starts_with("src/observe/logs/tests.rs:"),
        "{line}"
    );
}

/// Blocks in each write until it is let go.
struct StuckPipe {
    started: Sender<()>,
    go_on: Receiver<()>,
    page: Page,
}

impl Write for StuckPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.started.send(()).ok();
        self.go_on.recv().ok();
        self.page.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// If a write waited for the reader, this test would wait for it as well: nothing lets it go.
#[test]
fn a_blocked_reader_costs_lines_but_no_time() {
    let (started, has_started) = channel();
    let (let_go, go_on) = channel();
    let page = Page::default();
    let pipe = StuckPipe {
        started,
        go_on,
        page: page.clone(),
    };
    let (mut writer, dropped, flush) = queue_to(pipe, 2);
    writer.write_all(b"0\n").unwrap();
    has_started.recv().unwrap();

    for line in ["1\n", "2\n", "3\n", "4\n", "5\n"] {
        writer.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(dropped.count(), 3, "two wait in the queue");

    drop(let_go);
    drop(flush);
    assert_eq!(page.text(), "0\n1\n2\n", "the guard writes what waits");
}

/// Has no space left.
struct FullDisk;

impl Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let (mut writer, dropped, flush) = queue_to(FullDisk, 16);
    for _ in 0..3 {
        writer.write_all(b"x\n").unwrap();
    }
    drop(flush);
    assert_eq!(dropped.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_changed_filter_holds_for_its_time_and_no_longer() {
    let page = Page::default();
    let writer = page.clone();
    let log = log_to(HUMAN, "warn", move || writer.clone());
    let _here = tracing::dispatcher::set_default(&log.events);
    let levels = Arc::new(log.levels);
    let say = |what: &str| {
        tracing::debug!(target: "a_module", what);
        page.text().contains(what)
    };
    assert!(!say("before"));
    levels.set("warn,a_module=debug", Duration::from_secs(60), "ops");
    assert!(say("meanwhile"));
    let shown = levels.show("r1");
    assert_eq!(shown.filter, "warn,a_module=debug");
    assert!(shown.until.is_some());

    let root = Root::start(
        Node::root(),
        vec![Arc::clone(&levels).child()],
        Metrics::default(),
    );
    let root = root.await.expect("a tree");
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(say("nearly over"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!say("after it"));
    assert_eq!(levels.show("r1").filter, "warn");
    assert!(page.text().contains("the log filter is changed"));

    levels.set("debug", Duration::from_secs(60), "ops");
    levels.reset();
    assert!(!say("after the reset"));
    drop(root);
}

#[test]
fn neither_the_client_nor_the_actors_are_heard_unless_they_are_named() {
    let text = log(HUMAN, "info", || {
        tracing::error!(target: "async_nats", "an attempt");
        let _actor = tracing::info_span!(target: "ractor::message", "Actor", id = 7).entered();
        tracing::info!("kept");
    });
    assert!(
        text.contains("kept") && !text.contains("attempt") && !text.contains("Actor"),
        "{text}"
    );
    let text = log(HUMAN, "info,async_nats=error", || {
        tracing::error!(target: "async_nats", "an attempt");
    });
    assert!(text.contains("an attempt"), "{text}");
}
