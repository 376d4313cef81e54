//! What a database says when it is there and will not do what was asked: waiting alone does not
//! help, so each of these comes with what does.

/// By SQLSTATE.
const POSTGRES: [(&str, &str); 9] = [
    (
        "08P01",
        "a pooler in front of Postgres has to let through what docs/configuration.md names",
    ),
    (
        "25006",
        "this server may only be read: name the primary in database.url to change anything",
    ),
    ("26000", SESSIONS),
    (
        "28000",
        "let this user in from here (pg_hba.conf), or name another one in database.url",
    ),
    (
        "28P01",
        "correct user and password in database.url or in the file of database.url_file",
    ),
    (
        "3D000",
        "create the database, or name another one in database.url",
    ),
    ("42P05", SESSIONS),
    (
        "42501",
        "grant this user the rights that docs/configuration.md names, or migrate as its owner",
    ),
    (
        "53300",
        "raise max_connections of the server, or lower database.max_connections of the routers",
    ),
];

/// A statement that was prepared elsewhere, or by somebody else.
const SESSIONS: &str =
    "a pooler in front of Postgres has to keep sessions apart (pool_mode = session in PgBouncer)";

/// By the lowest byte of a code.
const SQLITE: [(u32, &str); 4] = [
    (
        3,
        "correct the rights of the file and its folder, or name another file in database.url",
    ),
    (
        8,
        "the file may only be read: look at mode in database.url, and at the rights of the file and its folder",
    ),
    (13, "make room on the disk"),
    (
        14,
        "look at the path and mode in database.url, and at the rights of the file and its folder; only mode=rwc makes \
         a missing file",
    ),
];

/// Begins of SQLSTATE that say "not now": the connection, another transaction, a lack of memory or
/// disk, a lock, a server that was told to end or starts, its system.
const NOT_NOW: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

/// What somebody can do about it.
pub(super) fn advice(code: &str) -> Option<&'static str> {
    if is_sqlstate(code) {
        let known = POSTGRES.iter().find(|(known, _)| *known == code);
        return known.map(|(_, advice)| *advice);
    }
    let kind = code.parse::<u32>().ok()? & 0xff;
    let known = SQLITE.iter().find(|(known, _)| *known == kind);
    known.map(|(_, advice)| *advice)
}

/// Whether the database has decided, and not just had no time.
pub(super) fn is_refusal(code: &str) -> bool {
    is_sqlstate(code) && !NOT_NOW.iter().any(|begin| code.starts_with(begin))
}

/// SQLite's codes are numbers, and shorter.
pub(super) fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_has_no_time_does_not_refuse() {
        for code in ["57P03", "57014", "55P03", "40001", "53100", "5", "6", "10"] {
            assert!(advice(code).is_none() && !is_refusal(code), "{code}");
        }
    }

    #[test]
    fn a_refusal_comes_with_what_helps() {
        for (code, helps) in [
            ("28P01", "password"),
            ("28000", "pg_hba.conf"),
            ("3D000", "create the database"),
            ("53300", "max_connections"),
            ("25006", "primary"),
            ("42501", "grant"),
            ("8", "may only be read"),
            ("1032", "may only be read"),
            ("14", "mode=rwc"),
        ] {
            let advice = advice(code).unwrap_or_default();
            assert!(advice.contains(helps), "{code}: {advice}");
        }
        assert!(is_refusal("P0001"));
    }
}
