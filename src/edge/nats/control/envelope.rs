//! The header of a message between replicas: how it reads, and what makes it a true one.

use beamline_domain::fleet::{FleetKey, FleetKeys, is_fresh};

use super::refusals::Refusal;
use crate::keys::FleetSigned;

/// What a message is bound to, besides its body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Binding<'m> {
    pub(super) subject: &'m str,
    /// Of a question, where its answers go.
    pub(super) reply: &'m str,
    /// Of an answer, the name of its question.
    pub(super) question: &'m str,
}

/// The header, as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'h> {
    pub(super) key: &'h str,
    pub(super) replica: &'h str,
    pub(super) sent_at: u64,
    pub(super) sequence: u64,
    signature: &'h str,
}

/// The first part of the header.
const VERSION: &str = "v1";
/// Characters of the name of a replica.
const LONGEST_NAME: usize = 64;

impl<'m> Binding<'m> {
    /// The header for a body; nothing when the secret of the key is none.
    pub(super) fn sign(
        self,
        key: &FleetKey,
        replica: &str,
        sent_at: u64,
        sequence: u64,
        body: &[u8],
    ) -> Option<String> {
        let signed = self.signed(&key.id, replica, sent_at, sequence, body);
        let signature = signed.signature(&key.secret)?;
        let id = &key.id;
        Some(format!(
            "{VERSION};{id};{replica};{sent_at};{sequence};{signature}"
        ))
    }

    fn signed<'a>(
        self,
        key: &'a str,
        replica: &'a str,
        sent_at: u64,
        sequence: u64,
        body: &'a [u8],
    ) -> FleetSigned<'a>
    where
        'm: 'a,
    {
        FleetSigned {
            subject: self.subject,
            reply: self.reply,
            question: self.question,
            key,
            replica,
            sent_at,
            sequence,
            body,
        }
    }

    /// The cheap questions first. The signature is looked at when nothing else is wrong and
    /// `may_check` says so.
    pub(super) fn check<'h>(
        self,
        header: Option<&'h str>,
        body: &[u8],
        keys: &FleetKeys,
        now: u64,
        may_check: impl FnOnce() -> bool,
    ) -> Result<Envelope<'h>, Refusal> {
        let header = header.ok_or(Refusal::Unsigned)?;
        let envelope = Envelope::read(header).ok_or(Refusal::Malformed)?;
        let Envelope {
            key,
            replica,
            sent_at,
            sequence,
            signature,
        } = envelope;
        if !is_fresh(sent_at, now) {
            return Err(Refusal::Stale);
        }
        let known = keys.valid(key, now).ok_or(Refusal::UnknownKey)?;
        if !may_check() {
            return Err(Refusal::Unchecked);
        }
        let signed = self.signed(&known.id, replica, sent_at, sequence, body);
        if signed.is_signed(&known.secret, signature) {
            Ok(envelope)
        } else {
            Err(Refusal::WrongSignature)
        }
    }
}

impl<'h> Envelope<'h> {
    fn read(header: &'h str) -> Option<Self> {
        let mut parts = header.split(';');
        let mut next = || parts.next();
        let version = next()?;
        let envelope = Self {
            key: next()?,
            replica: next().filter(|name| is_name(name))?,
            sent_at: next()?.parse().ok()?,
            sequence: next()?.parse().ok()?,
            signature: next()?,
        };
        (version == VERSION && next().is_none()).then_some(envelope)
    }
}

/// Of a message: no other has it, for as long as the names of replicas differ.
pub(super) fn name(replica: &str, sequence: u64) -> String {
    format!("{replica}:{sequence}")
}

fn is_name(replica: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LONGEST_NAME).contains(&replica.len()) && replica.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_769_860_800_000;
    const HALF_A_MINUTE: u64 = 30_000;
    const DAY: u64 = 24 * 3600 * 1000;
    const QUESTION: Binding<'static> = Binding {
        subject: "beamline.router.v1.control.breakers",
        reply: "_INBOX.beamline_router.x",
        question: "",
    };

    fn key(number: u64, created_at: u64) -> FleetKey {
        FleetKey {
            id: format!("k{number}"),
            number,
            secret: format!("{number:02x}").repeat(32),
            created_at,
        }
    }

    fn keys() -> FleetKeys {
        vec![key(1, NOW - DAY), key(2, NOW)].into()
    }

    fn header(key: &FleetKey) -> String {
        QUESTION.sign(key, "r1", NOW, 17, b"{}").expect("a key")
    }

    fn refusal(binding: Binding<'_>, header: &str, body: &[u8], now: u64) -> Option<Refusal> {
        let checked = binding.check(Some(header), body, &keys(), now, || true);
        checked.err()
    }

    #[test]
    fn what_a_replica_has_signed_is_true_under_both_keys() {
        for key in [key(1, NOW - DAY), key(2, NOW)] {
            let header = header(&key);
            let checked = QUESTION.check(Some(&header), b"{}", &keys(), NOW, || true);
            let envelope = checked.expect("a true one");
            assert_eq!(
                (envelope.replica, envelope.sent_at, envelope.sequence),
                ("r1", NOW, 17)
            );
        }
    }

    #[test]
    fn nothing_can_be_moved_elsewhere() {
        let header = header(&key(2, NOW));
        let wrong = Some(Refusal::WrongSignature);
        let subject = Binding {
            subject: "beamline.router.v1.control.breaker",
            ..QUESTION
        };
        assert_eq!(refusal(subject, &header, b"{}", NOW), wrong);
        let reply = Binding {
            reply: "_INBOX.beamline_router.y",
            ..QUESTION
        };
        assert_eq!(refusal(reply, &header, b"{}", NOW), wrong);
        let question = Binding {
            question: "r2:3",
            ..QUESTION
        };
        assert_eq!(refusal(question, &header, b"{}", NOW), wrong);
        assert_eq!(refusal(QUESTION, &header, b"{} ", NOW), wrong);
        for (old, new) in [(";r1;", ";r2;"), (";17;", ";18;"), ("800000;", "800001;")] {
            let moved = header.replace(old, new);
            assert_ne!(moved, header);
            assert_eq!(refusal(QUESTION, &moved, b"{}", NOW), wrong, "{moved}");
        }
        let other_key = header.replace(";k2;", ";k1;");
        assert_eq!(refusal(QUESTION, &other_key, b"{}", NOW), wrong);
    }

    #[test]
    fn a_message_is_true_for_half_a_minute() {
        let header = header(&key(2, NOW));
        for (now, expected) in [
            (NOW + HALF_A_MINUTE, None),
            (NOW - HALF_A_MINUTE, None),
            (NOW + HALF_A_MINUTE + 1, Some(Refusal::Stale)),
            (NOW - HALF_A_MINUTE - 1, Some(Refusal::Stale)),
        ] {
            assert_eq!(refusal(QUESTION, &header, b"{}", now), expected, "{now}");
        }
    }

    #[test]
    fn a_key_that_nobody_has_signs_nothing() {
        let strange = header(&key(3, NOW));
        let unknown = Some(Refusal::UnknownKey);
        assert_eq!(refusal(QUESTION, &strange, b"{}", NOW), unknown);
        let nothing = QUESTION.check(Some(&strange), b"{}", &FleetKeys::default(), NOW, || true);
        assert_eq!(nothing.err(), unknown);
    }

    #[test]
    fn the_signature_is_looked_at_last() {
        let asked = |header: Option<&str>, now| {
            let mut is_asked = false;
            let checked = QUESTION.check(header, b"{}", &keys(), now, || {
                is_asked = true;
                false
            });
            (checked.err(), is_asked)
        };
        let good = header(&key(2, NOW));
        assert_eq!(asked(None, NOW), (Some(Refusal::Unsigned), false));
        assert_eq!(asked(Some("v1"), NOW), (Some(Refusal::Malformed), false));
        assert_eq!(asked(Some(&good), 0), (Some(Refusal::Stale), false));
        let strange = good.replace(";k2;", ";k3;");
        let unknown = (Some(Refusal::UnknownKey), false);
        assert_eq!(asked(Some(&strange), NOW), unknown);
        assert_eq!(asked(Some(&good), NOW), (Some(Refusal::Unchecked), true));
    }

    #[test]
    fn what_is_no_header_is_malformed() {
        let good = header(&key(2, NOW));
        let long = good.replace(";r1;", &format!(";{};", "r".repeat(LONGEST_NAME + 1)));
        for odd in [
            "",
            ";",
            ";;;;;",
            "v2;k2;r1;1;1;A",
            "v1;k2;r1;1;1",
            "v1;k2;r1;-1;1;A",
            "v1;k2;r1;1;18446744073709551616;A",
            "v1;k2;;1;1;A",
            "v1;k2;r\n1;1;1;A",
            "v1;k2;r:1;1;1;A",
            &format!("{good};"),
            &long,
        ] {
            let malformed = Some(Refusal::Malformed);
            assert_eq!(refusal(QUESTION, odd, b"{}", NOW), malformed, "{odd:?}");
        }
    }
}
