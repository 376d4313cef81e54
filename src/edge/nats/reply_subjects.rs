//! Where callers may have their answers sent. A router that answered anywhere would publish for
//! whoever asks it to: to its own subjects, to extensions, to other people's services.

use async_nats::Subject;
use beamline_contract::escape::OneLine;
use beamline_contract::subject;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use std::time::Duration;
use tracing::warn;

use super::events::Report;
use crate::config::NatsConfig;

/// The reply subjects of requests, from gateways and from the administration.
#[derive(Debug)]
pub(crate) struct ReplySubjects {
    /// How they begin; compared as text.
    allowed: Vec<String>,
    /// How those begin that are refused all the same.
    refused: [String; 3],
    /// How the inboxes of routers begin.
    routers: String,
    unanswerable: Counter,
    report: Mutex<Report>,
}

const SAY_EVERY: Duration = Duration::from_secs(60);

impl ReplySubjects {
    pub(crate) fn new(nats: &NatsConfig) -> Self {
        let prefix = &nats.subject_prefix;
        let routers = format!("{}.", subject::router_inboxes(&nats.inbox_prefix, prefix));
        Self {
            allowed: nats.reply_prefixes.clone(),
            refused: [format!("{prefix}."), "$".to_owned(), routers.clone()],
            routers,
            unanswerable: Counter::default(),
            report: Mutex::new(Report::every(SAY_EVERY)),
        }
    }

    /// The subject when an answer may go there. Else that is counted, and said once a minute.
    pub(crate) fn answerable(&self, reply: Option<Subject>) -> Option<Subject> {
        match reply {
            Some(reply) if self.allows(&reply) => Some(reply),
            other => {
                self.unanswerable.inc();
                if self.report.lock().is_due() {
                    self.say(other.as_deref());
                }
                None
            }
        }
    }

    /// The subject when another router waits there, at an inbox of its own.
    pub(crate) fn of_router(&self, reply: Option<Subject>) -> Option<Subject> {
        reply.filter(|reply| reply.starts_with(&self.routers) && is_literal(reply))
    }

    /// Requests that were dropped because of it.
    pub(crate) fn unanswerable(&self) -> Counter {
        self.unanswerable.clone()
    }

    fn allows(&self, reply: &str) -> bool {
        let begins = |starts: &[String]| starts.iter().any(|start| reply.starts_with(start));
        is_literal(reply) && begins(&self.allowed) && !begins(&self.refused) && !is_routers(reply)
    }

    fn say(&self, reply: Option<&str>) {
        let allowed = self.allowed.join(", ");
        match reply {
            Some(reply) => warn!(
                reply = %OneLine(without_its_end(reply)),
                allowed,
                "a request was dropped: no answer goes to its reply subject. Let its sender use an inbox, or allow the \
                 beginning of its inboxes in nats.reply_prefixes"
            ),
            None => warn!(
                "a request was dropped because it has no reply subject: send it as a request, not as a message"
            ),
        }
    }
}

/// The last token may be the secret of a call.
fn without_its_end(reply: &str) -> &str {
    reply.rsplit_once('.').map_or(reply, |(start, _)| start)
}

/// Also of a router with another configuration.
fn is_routers(reply: &str) -> bool {
    reply
        .split('.')
        .skip(1)
        .any(|token| token.ends_with("_router"))
}

/// A subject with a wildcard reaches whoever listens on one.
fn is_literal(subject: &str) -> bool {
    !subject.contains(['*', '>'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::nats::testing::config_with;

    fn allows(set: &[(&str, &str)], reply: &str) -> bool {
        let replies = ReplySubjects::new(&config_with("nats://127.0.0.1:4222", set));
        replies.answerable(Some(reply.into())).is_some()
    }

    #[test]
    fn answers_go_to_inboxes_only() {
        for reply in ["_INBOX.a.b", "_INBOX_acme.1", "_R_.x.y"] {
            assert!(allows(&[], reply), "{reply}");
        }
        for reply in [
            "beamline.ext.pre.a.v1",
            "beamline.router.v1.route",
            "$SYS.REQ",
            "$JS.API.INFO",
            "payments.transfer",
            "_INBOX",
            "_INBOX.>",
            "_INBOX.*",
            "_INBOX.a.*.b",
            "_inbox.a",
            "x._INBOX.a",
        ] {
            assert!(!allows(&[], reply), "{reply}");
        }
    }

    #[test]
    fn no_router_is_answered_as_if_it_were_a_gateway() {
        let own = "_INBOX.beamline_router.0123456789abcdef0123456789abcdef.0";
        assert!(!allows(&[], own));
        let apart = [("nats.inbox_prefix", "_INBOX_router")];
        assert!(allows(&apart, "_INBOX.gateway.1"));
        assert!(!allows(&apart, "_INBOX_router.beamline_router.anything"));
        assert!(
            !allows(&apart, "_INBOX.other_router.anything"),
            "of another deployment"
        );
        assert!(
            allows(&apart, "_INBOX_router.other"),
            "of a command with the same configuration"
        );
        let replies = ReplySubjects::new(&config_with("nats://127.0.0.1:4222", &[]));
        assert!(replies.of_router(Some(own.into())).is_some());
        assert!(
            replies
                .of_router(Some("payments.transfer".into()))
                .is_none()
        );
        assert!(
            replies
                .of_router(Some("_INBOX.beamline_router.>".into()))
                .is_none()
        );
    }

    #[test]
    fn a_deployment_names_its_own() {
        let named = [("nats.reply_prefixes", "acme.replies.,_INBOX.")];
        assert!(allows(&named, "acme.replies.1") && allows(&named, "_INBOX.a"));
        assert!(!allows(&named, "_INBOX_a.b") && !allows(&named, "acme.other"));
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let replies = ReplySubjects::new(&config_with("nats://127.0.0.1:4222", &[]));
        assert!(replies.answerable(None).is_none());
        assert!(replies.answerable(Some("a.b".into())).is_none());
        assert!(replies.answerable(Some("_INBOX.a".into())).is_some());
        assert_eq!(replies.unanswerable().get(), 2);
    }
}
