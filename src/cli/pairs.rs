//! `KEY=VALUE` for texts and `KEY:=JSON` for everything else, as HTTPie writes them.

use beamline_contract::fields::Fields;
use serde_json::value::{RawValue, to_raw_value};

/// One entry of `--context` or `--metadata`.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Pair {
    key: String,
    value: Box<RawValue>,
}

impl Pair {
    pub(in crate::cli) fn parse(argument: &str) -> Result<Self, String> {
        let (key, value) = argument.split_once('=').ok_or(HOW)?;
        let (key, value) = match key.strip_suffix(':') {
            Some(key) => {
                let value = serde_json::from_str(value)
                    .map_err(|error| format!("what follows := is no JSON: {error}"));
                (key, value?)
            }
            None => (key, to_raw_value(value).map_err(|error| error.to_string())?),
        };
        if key.trim().is_empty() {
            Err(HOW.to_owned())
        } else {
            Ok(Self {
                key: key.trim().to_owned(),
                value,
            })
        }
    }
}

const HOW: &str = "write it as KEY=VALUE, or as KEY:=JSON for a number, a list or any other JSON";

/// Of a key given twice the last value counts.
pub(in crate::cli) fn as_fields(pairs: &[Pair]) -> Fields {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_text_unless_it_is_announced_as_json() {
        let read =
            |argument| Pair::parse(argument).map(|pair| (pair.key, pair.value.get().to_owned()));
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(read("lang=en"), pair("lang", "\"en\""));
        assert_eq!(read("vip=true"), pair("vip", "\"true\""));
        assert_eq!(read("vip:=true"), pair("vip", "true"));
        assert_eq!(read("tags:=[\"a\", 1.50]"), pair("tags", "[\"a\", 1.50]"));
        assert_eq!(read("q=a:=b"), pair("q", "\"a:=b\""));
        assert_eq!(read("empty="), pair("empty", "\"\""));
    }

    #[test]
    fn what_is_no_pair_says_how_to_write_one() {
        for wrong in ["lang", "=en", ":=1", ""] {
            assert_eq!(Pair::parse(wrong).err().as_deref(), Some(HOW), "{wrong}");
        }
        assert!(
            Pair::parse("n:=yes")
                .is_err_and(|sentence| sentence.starts_with("what follows := is no JSON: "))
        );
    }
}
