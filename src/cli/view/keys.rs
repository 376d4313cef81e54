//! Keys, without what opens anything.

use beamline_contract::admin::ListedKey;

use super::{table, text};

const HEADER: [&str; 7] = ["ID", "KIND", "ROLE", "TENANT", "NAME", "CREATED", "EXPIRES"];

const EMPTY: &str = "no keys; `beamline-router key create --role ROLE` makes one";

pub(in crate::cli) fn list(keys: &[ListedKey]) -> String {
    if keys.is_empty() {
        return EMPTY.to_owned();
    }
    let mut table = table::with_header(&HEADER, &[]).sparing(&["CREATED", "KIND"]);
    for ListedKey { key, .. } in keys {
        table.add_row([
            text::plain(&key.id),
            text::plain(&key.kind),
            text::or_dash(key.role.as_deref()),
            text::plain(key.tenant_id.as_deref().unwrap_or("(all)")),
            text::or_dash(key.name.as_deref()),
            text::or_dash(key.created_at.as_deref().map(to_the_second).as_deref()),
            text::or_dash(key.expires_at.as_deref().map(to_the_second).as_deref()),
        ]);
    }
    table::text(&table)
}

fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}
