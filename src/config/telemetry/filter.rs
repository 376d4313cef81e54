//! Whether a log filter says what its writer meant. To the filter every word that is no level is
//! the name of a module, and with a slip nearly nothing would be logged.

use std::str::FromStr;

use beamline_domain::suggest::closest;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::super::values::{Problem, shown};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What others call a level, and what it is called here.
const ELSEWHERE: [(&str, &str); 24] = [
    ("alert", "error"),
    ("all", "trace"),
    ("crit", "error"),
    ("critical", "error"),
    ("dbg", "debug"),
    ("disabled", "off"),
    ("emerg", "error"),
    ("emergency", "error"),
    ("err", "error"),
    ("fatal", "error"),
    ("fine", "debug"),
    ("finest", "trace"),
    ("information", "info"),
    ("informational", "info"),
    ("none", "off"),
    ("notice", "info"),
    ("panic", "error"),
    ("quiet", "off"),
    ("severe", "error"),
    ("silent", "off"),
    ("silly", "trace"),
    ("verbose", "debug"),
    ("warning", "warn"),
    ("warnings", "warn"),
];

pub(super) fn check(filter: &str) -> Result<(), Problem> {
    plain_parts(filter).try_for_each(check_part)?;
    let parsed = EnvFilter::builder().parse(filter).map(drop);
    parsed.map_err(|error| {
        format!(
            "must be a log filter such as \"info,sqlx=warn\", not {}: {error}",
            shown(filter)
        )
    })
}

/// Without a level that stands alone, only the modules that are named are logged, and no error of
/// any other.
pub(super) fn says_a_level_for_all(filter: &str) -> bool {
    plain_parts(filter).any(|part| LevelFilter::from_str(part).is_ok())
}

/// The parts that name no span.
fn plain_parts(filter: &str) -> impl Iterator<Item = &str> {
    filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && !part.contains(['[', ']', '{', '}']))
}

fn check_part(part: &str) -> Result<(), Problem> {
    let parts = part.split_once('=');
    let module = parts.map_or(part, |(module, _)| module.trim());
    if module.contains(|c: char| c.is_whitespace() || c == ';' || c == '|') {
        return Err(format!(
            "has {} where commas have to stand between the parts, as in \"info,sqlx=warn\"",
            shown(part)
        ));
    }
    if let Some((_, level)) = parts {
        return check_level(level.trim());
    }
    if let Some((module, level)) = part.rsplit_once(':')
        && !module.ends_with(':')
    {
        return Err(format!(
            "has {} where \"=\" has to stand before a level; did you mean {module}={level}?",
            shown(part)
        ));
    }
    let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || meant(part).is_some() {
        return check_level(part);
    }
    Ok(())
}

fn check_level(level: &str) -> Result<(), Problem> {
    // What has two of "=" is no slip with a level.
    let is_odd = level.is_empty() || level.contains('=');
    if is_odd || LevelFilter::from_str(level).is_ok() {
        return Ok(());
    }
    Err(match meant(level) {
        Some(known) => format!("has no level {}; did you mean {known}?", shown(level)),
        None => format!(
            "has no level {}; there are {}",
            shown(level),
            LEVELS.join(", ")
        ),
    })
}

/// The level that somebody may have meant by a word.
fn meant(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == word);
    elsewhere
        .map(|(_, level)| *level)
        .or_else(|| closest(&word, &LEVELS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_another_logger_is_no_module() {
        for (filter, level) in [
            ("warning", "warn"),
            ("WARNING", "warn"),
            ("err", "error"),
            ("verbose", "debug"),
            ("critical", "error"),
            ("info,sqlx=warning", "warn"),
            ("sqlx=warn, Notice", "info"),
            ("wran", "warn"),
            ("none", "off"),
        ] {
            let problem = check(filter).unwrap_err();
            let meant = format!("did you mean {level}?");
            assert!(problem.ends_with(&meant), "{filter}: {problem}");
        }
    }

    #[test]
    fn other_slips_are_told_too() {
        for (filter, told) in [
            ("info sqlx=warn", "commas have to stand"),
            ("info;sqlx=warn", "commas have to stand"),
            ("info,sqlx:debug", "did you mean sqlx=debug?"),
            ("7", "has no level \"7\""),
            ("sqlx=loud", "there are off, error"),
            ("sqlx=[", "must be a log filter"),
        ] {
            let problem = check(filter).unwrap_err();
            assert!(problem.contains(told), "{filter}: {problem}");
        }
    }

    #[test]
    fn what_a_filter_can_say_is_taken() {
        for filter in [
            "info",
            "WARN",
            "3",
            "off",
            "info,sqlx=warn",
            "info,beamline_router::edge=debug",
            "info,beamline_router::edge",
            "info,sqlx=",
            "info,[request{tenant_id=acme}]=trace",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
            assert!(says_a_level_for_all(filter), "{filter}");
        }
        for filter in ["sqlx", "beamline_router=debug,sqlx=warn"] {
            assert_eq!(check(filter), Ok(()), "{filter}");
            assert!(!says_a_level_for_all(filter), "{filter}");
        }
    }
}
