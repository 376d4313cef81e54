//! Which programs listen, as far as they tell by the NATS service protocol.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Different answers that are kept; of replicas of one program there is one. Who sends more wants
/// to be in the way, and is not believed.
const MOST_LISTENERS: usize = 64;

/// A subscription of a program, and what it says of the config that it wants there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What the program calls itself.
    pub program: String,
    /// May have wildcards.
    pub subject: String,
    pub config_schema: Option<Arc<str>>,
}

/// All that was heard.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    subjects: BTreeSet<String>,
    listeners: Vec<Listener>,
    are_too_many: bool,
}

impl Heard {
    /// Keeps what a program says if it concerns one of `wanted`. Answers which of them it does.
    pub fn take(&mut self, listener: Listener, wanted: &BTreeSet<String>) -> Vec<String> {
        let concerns = |subject: &&String| covers(&listener.subject, subject);
        let covered: Vec<String> = wanted.iter().filter(concerns).cloned().collect();
        if covered.is_empty() {
            return covered;
        }
        self.subjects.extend(covered.iter().cloned());
        let is_known = self.listeners.iter().any(|known| {
            known.subject == listener.subject && known.config_schema == listener.config_schema
        });
        if !is_known && self.listeners.len() < MOST_LISTENERS {
            self.listeners.push(listener);
        } else if !is_known {
            self.are_too_many = true;
        }
        covered
    }

    /// Whether anybody listens there.
    pub fn is_on(&self, subject: &str) -> bool {
        self.subjects.contains(subject)
    }

    /// Who takes the calls to a subject: those who name it, or else those whose wildcards fit it.
    pub fn on(&self, subject: &str) -> Vec<&Listener> {
        if self.are_too_many {
            return Vec::new();
        }
        let is_named = |listener: &&Listener| listener.subject == subject;
        let named: Vec<&Listener> = self.listeners.iter().filter(is_named).collect();
        if !named.is_empty() {
            return named;
        }
        let is_covered = |listener: &&Listener| covers(&listener.subject, subject);
        self.listeners.iter().filter(is_covered).collect()
    }
}

/// Whether a subscription to `pattern` gets what is sent to `subject`.
pub fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match tokens.next() {
            Some(_) if part == ">" => return true,
            Some(token) if part == "*" || part == token => {}
            Some(_) | None => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(subject: &str, schema: Option<&str>) -> Listener {
        Listener {
            program: "p".to_owned(),
            subject: subject.to_owned(),
            config_schema: schema.map(Arc::from),
        }
    }

    fn heard(listeners: impl IntoIterator<Item = Listener>) -> Heard {
        let wanted = ["a.b".to_owned()].into();
        let mut heard = Heard::default();
        for listener in listeners {
            heard.take(listener, &wanted);
        }
        heard
    }

    #[test]
    fn a_subscription_covers_its_subjects() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.b", "a.c", false),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.>", "a", false),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn replicas_are_one_and_strangers_none() {
        let two = heard([
            listener("a.b", Some("{}")),
            listener("a.b", Some("{}")),
            listener("a.b", None),
            listener("a.c", Some("{}")),
        ]);
        assert_eq!(two.on("a.b").len(), 2);
        assert!(two.is_on("a.b") && !two.is_on("a.c"));
    }

    #[test]
    fn who_names_a_subject_counts_before_who_hears_everything() {
        let spy = listener("a.>", None);
        let named = listener("a.b", Some("{}"));
        let both = heard([spy.clone(), named.clone()]);
        assert_eq!(both.on("a.b"), [&named]);
        assert_eq!(heard([spy.clone()]).on("a.b"), [&spy]);
    }

    #[test]
    fn a_flood_of_answers_says_only_that_somebody_listens() {
        let flood = (0..=MOST_LISTENERS).map(|n| listener("a.b", Some(&n.to_string())));
        let heard = heard(flood);
        assert!(heard.is_on("a.b") && heard.on("a.b").is_empty());
    }
}
