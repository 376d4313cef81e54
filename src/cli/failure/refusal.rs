//! A router's `{"ok": false, "error": {..}}`: read once, said in a sentence, turned into an exit
//! code.

use std::borrow::Cow;

use beamline_contract::admin::RefusalCode;
use beamline_contract::answer::{AnswerContext, AttemptReport, ErrorBody, ExtensionReport};
use beamline_contract::details;
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::view::{attempts, refused, text};

/// The exit code of what does not exist.
const NOT_FOUND: u8 = 3;

/// What the router refused and why, with the answer itself for `--output json`.
#[derive(Debug, Clone)]
pub struct RefusedAnswer {
    raw: String,
    /// Its parts are read one by one: one that cannot be read costs only itself.
    answer: Fields,
    /// Whether to tell how far the request got.
    explains: bool,
    /// What the caller may have meant.
    hint: Option<String>,
}

impl RefusedAnswer {
    /// The refusal in an answer; `None` when the answer is not one.
    pub(in crate::cli) fn in_answer(raw: &str) -> Option<Self> {
        let answer = Fields::parse(raw).ok()?;
        let has_error = answer
            .get("error")
            .is_some_and(|error| error.get() != "null");
        let refused = match answer.flag("ok") {
            Some(ok) => !ok,
            None => has_error,
        };
        refused.then(|| Self {
            raw: raw.to_owned(),
            answer,
            explains: false,
            hint: None,
        })
    }

    /// Tells how far the request got as well.
    pub(in crate::cli) fn explained(mut self) -> Self {
        self.explains = true;
        self
    }

    /// With what to do next in place of what is usual.
    pub(in crate::cli) fn with_hint(mut self, hint: String) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Whether what was asked for does not exist.
    pub(in crate::cli) fn is_not_found(&self) -> bool {
        self.exit_code() == NOT_FOUND
    }

    /// Of a document, as far as the refusal lists any.
    pub(in crate::cli) fn mistakes(&self) -> Vec<Mistake> {
        let error = self.error();
        let mistakes = error.details.get(details::MISTAKES);
        mistakes
            .and_then(|mistakes| Vec::deserialize(mistakes).ok())
            .unwrap_or_default()
    }

    fn error(&self) -> ErrorBody<'_> {
        self.part("error").unwrap_or_else(unexplained)
    }

    /// At providers, when the request got so far.
    fn attempts(&self) -> Vec<AttemptReport<'_>> {
        self.part("attempts").unwrap_or_default()
    }

    fn trace_id(&self) -> Option<Cow<'_, str>> {
        let context: AnswerContext<'_> = self.part("context")?;
        Some(context.trace_id)
    }

    fn part<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.answer.get(name)?.get()).ok()
    }

    /// Of the pipeline, when the request had one.
    fn stages(&self) -> Vec<ExtensionReport<'_>> {
        self.part("extensions").unwrap_or_default()
    }

    pub(super) fn exit_code(&self) -> u8 {
        match Code::of(&self.error()) {
            Code::Request(ErrorCode::PolicyNotFound)
            | Code::Administration(RefusalCode::NotFound) => NOT_FOUND,
            Code::Administration(RefusalCode::Conflict) => 4,
            Code::Request(
                ErrorCode::Overloaded
                | ErrorCode::RateLimited
                | ErrorCode::BusUnavailable
                | ErrorCode::ShuttingDown,
            )
            | Code::Administration(RefusalCode::StoreUnavailable) => 5,
            Code::Request(_) | Code::Administration(_) | Code::Other => 1,
        }
    }

    pub(super) fn document(&self) -> String {
        self.raw.clone()
    }

    /// The router's sentence with its code, a line for each mistake or detail, the attempts at
    /// providers, and what to do next.
    pub(super) fn sentence(&self) -> String {
        let error = self.error();
        let code = match &error.intake_error_code {
            Some(intake) => format!("{}, {}", text::plain(&error.code), text::plain(intake)),
            None => text::plain(&error.code),
        };
        let mut lines = vec![format!("error: {} ({code})", text::plain(&error.message))];
        for (name, value) in &error.details {
            match (name.as_str(), value) {
                (details::MISTAKES, Value::Array(mistakes)) => {
                    lines.extend(mistakes.iter().map(mistake_line));
                }
                _ => lines.push(format!("  {}: {}", text::plain(name), shown(value))),
            }
        }
        if let Some(id) = self.trace_id() {
            lines.push(format!("  trace_id: {}", text::plain(&id)));
        }
        // A table stands by itself.
        if let Some(table) = attempts::text(&self.attempts()) {
            lines.push(format!("\n{table}\n"));
        }
        if self.explains {
            let story = refused::story(&self.stages(), &self.attempts(), &error.code);
            lines.extend(story.map(|story| format!("\n{story}\n")));
        }
        match &self.hint {
            Some(hint) => lines.push(text::plain(hint)),
            None => lines.extend(next_step(&error).map(str::to_owned)),
        }
        lines.join("\n").trim_end().to_owned()
    }
}

/// The code of a refusal, among those of requests and of the administration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// Of a request; some of them the administration has as well, and means the same by them.
    Request(ErrorCode),
    /// Only of the administration.
    Administration(RefusalCode),
    /// Of a newer router.
    Other,
}

impl Code {
    fn of(error: &ErrorBody<'_>) -> Self {
        let of_a_request = ErrorCode::parse(&error.code).map(Self::Request);
        of_a_request
            .or_else(|| RefusalCode::parse(&error.code).map(Self::Administration))
            .unwrap_or(Self::Other)
    }
}

fn unexplained<'a>() -> ErrorBody<'a> {
    ErrorBody {
        code: "unexplained".into(),
        message: "the router refused without saying why".into(),
        intake_error_code: None,
        details: Map::new(),
    }
}

fn mistake_line(mistake: &Value) -> String {
    let field = |name| mistake.get(name).and_then(Value::as_str).map(text::plain);
    match (field("pointer"), field("message")) {
        (Some(pointer), Some(message)) if pointer.is_empty() => {
            format!("  (whole document): {message}")
        }
        (Some(pointer), Some(message)) => format!("  {pointer}: {message}"),
        (None, Some(message)) => format!("  {message}"),
        (_, None) => format!("  {}", shown(mistake)),
    }
}

fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(string) => text::plain(string),
        None => text::plain(&value.to_string()),
    }
}

/// What somebody at a terminal can do about a refusal; nothing when the details already say it.
fn next_step(error: &ErrorBody<'_>) -> Option<&'static str> {
    let detail = |name| error.details.get(name).and_then(Value::as_str);
    if detail(details::ERROR_TYPE) == Some(details::CIRCUIT_OPEN) {
        return Some("`beamline-router breaker show ID` says why, and until when.");
    }
    // Trying again is the one thing not to do blindly.
    if detail(details::OUTCOME) == Some(details::UNKNOWN) {
        return Some("`ext get` or `policy get` shows whether it was made.");
    }
    match Code::of(error) {
        Code::Request(code) => after_a_request(code, error),
        Code::Administration(RefusalCode::NotFound)
            if error.details.contains_key(details::REMEMBERED) =>
        {
            Some(
                "Each replica remembers its last 2,000 requests; `request show --last --limit 20` lists the newest, and the \
                 log has a line for each.",
            )
        }
        Code::Administration(RefusalCode::NotFound) => {
            Some("`beamline-router ext list` and `beamline-router policy list` show what exists.")
        }
        Code::Administration(RefusalCode::Conflict) => {
            Some("`ext get` or `policy get` shows it as it is now.")
        }
        Code::Administration(_) | Code::Other => None,
    }
}

fn after_a_request(code: ErrorCode, error: &ErrorBody<'_>) -> Option<&'static str> {
    let intake = error
        .intake_error_code
        .as_deref()
        .and_then(IntakeCode::parse);
    let has = |name| error.details.contains_key(name);
    match code {
        // Without one that failed, none could be chosen.
        ErrorCode::ExtensionUnavailable
            if has(details::RETRY_AFTER_MS) && !has(details::EXTENSION_ID) =>
        {
            Some("`beamline-router breaker list` shows which breakers are open, and why.")
        }
        ErrorCode::Unauthorized if intake == Some(IntakeCode::TenantForbidden) => {
            Some("The router serves only the tenants of its router.allowed_tenants.")
        }
        ErrorCode::Unauthorized => Some(
            "Set admin.api_key (BEAMLINE__ADMIN__API_KEY) to the key that the router was started with.",
        ),
        ErrorCode::PolicyNotFound => {
            Some("`beamline-router policy list` shows the policies of each tenant.")
        }
        ErrorCode::ExtensionNotFound => Some(
            "`beamline-router ext list` shows what is registered; `ext enable ID` switches one on.",
        ),
        ErrorCode::ExtensionUnavailable => Some(
            "`beamline-router ext list` shows its health; start the service that serves its subject.",
        ),
        ErrorCode::Overloaded
        | ErrorCode::RateLimited
        | ErrorCode::BusUnavailable
        | ErrorCode::ShuttingDown => Some("Try again in a moment."),
        ErrorCode::InvalidRequest
        | ErrorCode::ValidatorBlocked
        | ErrorCode::PreProcessorFailed
        | ErrorCode::PostProcessorFailed
        | ErrorCode::ExtensionError
        | ErrorCode::DecisionFailed
        | ErrorCode::Internal
        | ErrorCode::ExtensionTimeout
        | ErrorCode::DeadlineExceeded => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(error: &str) -> RefusedAnswer {
        RefusedAnswer::in_answer(&format!(r#"{{"ok":false,"error":{error}}}"#)).expect("a refusal")
    }

    #[test]
    fn every_mistake_is_shown_with_its_pointer() {
        let refusal = refusal(
            r#"{"code":"invalid_request","message":"the policy has 3 mistakes","details":{"mistakes":[
                {"pointer":"/providers/0/name","message":"no provider \"gpt\" is registered"},
                {"pointer":"","message":"needs a provider"},{"message":"odd\u001b[2J"}]}}"#,
        );
        assert_eq!(
            refusal.sentence(),
            "error: the policy has 3 mistakes (invalid_request)\n  /providers/0/name: no provider \"gpt\" is registered\n  \
             (whole document): needs a provider\n  odd\\u{1b}[2J"
        );
        assert_eq!(refusal.exit_code(), 1);
    }

    #[test]
    fn details_and_the_next_step_follow_the_sentence() {
        let refusal = refusal(
            r#"{"code":"extension_unavailable","message":"pii_guard has no subscriber",
                "details":{"extension_id":"pii_guard","retry_after_ms":500}}"#,
        );
        assert_eq!(
            refusal.sentence(),
            "error: pii_guard has no subscriber (extension_unavailable)\n  extension_id: pii_guard\n  retry_after_ms: 500\n\
             `beamline-router ext list` shows its health; start the service that serves its subject."
        );
    }

    #[test]
    fn the_reason_decides_the_exit_code() {
        let code =
            |code: &str| refusal(&format!(r#"{{"code":"{code}","message":""}}"#)).exit_code();
        assert_eq!(
            [
                code("not_found"),
                code("policy_not_found"),
                code("conflict")
            ],
            [3, 3, 4]
        );
        assert_eq!(
            [
                code("overloaded"),
                code("bus_unavailable"),
                code("shutting_down")
            ],
            [5, 5, 5]
        );
        assert_eq!(
            [
                code("extension_not_found"),
                code("extension_unavailable"),
                code("unheard_of")
            ],
            [1, 1, 1]
        );
    }

    #[test]
    fn the_intake_code_is_shown_beside_the_code() {
        let refusal = refusal(
            r#"{"code":"invalid_request","intake_error_code":"VERSION_UNSUPPORTED","message":"version 2 is not known"}"#,
        );
        assert_eq!(
            refusal.sentence(),
            "error: version 2 is not known (invalid_request, VERSION_UNSUPPORTED)"
        );
    }

    #[test]
    fn a_key_is_asked_for_only_where_a_key_helps() {
        let key = refusal(r#"{"code":"unauthorized","message":"no"}"#).sentence();
        assert!(key.contains("admin.api_key"), "{key}");
        let tenant = refusal(
            r#"{"code":"unauthorized","intake_error_code":"TENANT_FORBIDDEN","message":"no"}"#,
        )
        .sentence();
        assert!(
            tenant.contains("allowed_tenants") && !tenant.contains("api_key"),
            "{tenant}"
        );
    }

    #[test]
    fn the_trace_id_leads_to_the_logs() {
        let answer = r#"{"ok":false,"error":{"code":"internal","message":"sorry"},"context":{"trace_id":"4bf9"}}"#;
        let refusal = RefusedAnswer::in_answer(answer).expect("a refusal");
        assert_eq!(
            refusal.sentence(),
            "error: sorry (internal)\n  trace_id: 4bf9"
        );
        assert_eq!(refusal.document(), answer);
    }

    #[test]
    fn an_open_breaker_can_be_looked_at() {
        let error = r#"{"code":"validator_blocked","message":"It is open.","details":{"error_type":"circuit_open"}}"#;
        let sentence = refusal(error).sentence();
        assert!(
            sentence.ends_with("\n`beamline-router breaker show ID` says why, and until when."),
            "{sentence}"
        );
        let none = r#"{"code":"extension_unavailable","message":"None can be chosen.","details":{"retry_after_ms":9}}"#;
        let sentence = refusal(none).sentence();
        assert!(
            sentence.ends_with(
                "\n`beamline-router breaker list` shows which breakers are open, and why."
            )
        );
    }

    #[test]
    fn who_does_not_know_whether_it_was_done_looks_first() {
        for code in ["store_unavailable", "overloaded", "shutting_down"] {
            let error = format!(
                r#"{{"code":"{code}","message":"Perhaps.","details":{{"outcome":"unknown"}}}}"#
            );
            let sentence = refusal(&error).sentence();
            assert!(
                sentence.ends_with("\n`ext get` or `policy get` shows whether it was made."),
                "{sentence}"
            );
        }
    }

    #[test]
    fn the_attempts_of_a_refused_request_are_shown() {
        let answer = r#"{"ok":false,"error":{"code":"extension_unavailable","message":"No instance of b is running."},
            "attempts":[{"provider_id":"a","version":"v1","reason":"weighted","status":"timeout","error_type":"extension_timeout","waited_ms":0.0,"latency_ms":10.0},
                        {"provider_id":"b","version":"v1","reason":"fallback","status":"error","error_type":"no_responders","rule":0,"waited_ms":70.0,"latency_ms":1.0}]}"#;
        let expected = "\
error: No instance of b is running. (extension_unavailable)

ATTEMPT  PROVIDER  VERSION  WHY               STATUS                        WAITED  LATENCY
      1  a         v1       weighted          timeout (extension_timeout)        -  10.0 ms
      2  b         v1       fallback, rule 1  error (no_responders)        70.0 ms   1.0 ms

`beamline-router ext list` shows its health; start the service that serves its subject.";
        assert_eq!(
            RefusedAnswer::in_answer(answer)
                .expect("a refusal")
                .sentence(),
            expected
        );
    }

    #[test]
    fn answers_without_ok_are_refusals_only_with_an_error() {
        assert!(RefusedAnswer::in_answer(r#"{"health":{}}"#).is_none());
        assert!(RefusedAnswer::in_answer(r#"{"ok":true,"error":null}"#).is_none());
        assert!(
            RefusedAnswer::in_answer(r#"{"error":{"code":"internal","message":"x"}}"#).is_some()
        );
        let silent = RefusedAnswer::in_answer(r#"{"ok":false}"#).expect("a refusal");
        assert_eq!(
            silent.sentence(),
            "error: the router refused without saying why (unexplained)"
        );
    }
}
