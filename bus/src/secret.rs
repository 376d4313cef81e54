//! What nobody can guess who was not told: the place of one answer.

use std::fmt;

/// 128 random bits, written as the last token of a subject.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Secret(u128);

/// Hexadecimal digits of 128 bits.
const LENGTH: usize = 32;

impl Secret {
    /// From the generator of the operating system, by way of one that is fast.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The secret that a token is, when it is written as [`Self::token`] writes it and not in any
    /// other way.
    pub fn parse(token: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if token.len() != LENGTH || !token.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(token, 16).ok().map(Self)
    }

    pub fn token(self) -> String {
        format!("{:032x}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_token_is_read_in_one_spelling_only() {
        let secret = Secret(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let token = secret.token();
        assert_eq!(token, "0123456789abcdef0123456789abcdef");
        assert_eq!(Secret::parse(&token), Some(secret));
        assert_eq!(Secret::parse(&Secret(7).token()), Some(Secret(7)));
        for other in [
            "",
            "7",
            "+123456789abcdef0123456789abcdef",
            "0123456789ABCDEF0123456789ABCDEF",
            "0123456789abcdef0123456789abcde",
            "00123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcde\u{e9}",
        ] {
            assert_eq!(Secret::parse(other), None, "{other}");
        }
    }

    #[test]
    fn no_two_are_alike_and_none_is_shown() {
        let many: HashSet<Secret> = (0..10_000).map(|_| Secret::random()).collect();
        assert_eq!(many.len(), 10_000);
        assert_eq!(format!("{:?}", Secret(7)), "[redacted]");
    }
}
