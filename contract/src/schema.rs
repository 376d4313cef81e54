//! Schemas of what is a plain text or number in Rust, and has a form of its own on the wire.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::limits::MAX_ID;

/// What names an extension in a policy.
pub(crate) struct Id;
pub(crate) struct NewId;
pub(crate) struct PolicyId;
pub(crate) struct Token;
pub(crate) struct Subject;
pub(crate) struct Moment;
pub(crate) struct Condition;
/// A condition that may be met by nobody.
pub(crate) struct RuleCondition;
pub(crate) struct Object;

macro_rules! schemas {
    ($($name:ident = $schema:expr;)*) => {
        $(
            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $schema
                }
            }
        )*
    };
}

schemas! {
    Id = json_schema!({
        "description": "1 to 64 characters of a-z, 0-9, _, -, and single dots and colons, starting with a letter or a digit.",
        "type": "string",
        "pattern": "^[a-z0-9](?:[a-z0-9_-]|[.:](?![.:]|$))*$",
        "maxLength": MAX_ID,
    });
    NewId = json_schema!({
        "description": "1 to 64 characters of a-z, 0-9, _ and -, starting with a letter or a digit; of a provider that has a subject also single colons.",
        "type": "string",
        "pattern": "^[a-z0-9](?:[a-z0-9_-]|:(?!:|$))*$",
        "maxLength": MAX_ID,
    });
    PolicyId = json_schema!({
        "description": "1 to 64 characters of a-z, 0-9, _, - and single dots, starting with a letter or a digit.",
        "type": "string",
        "pattern": "^[a-z0-9](?:[a-z0-9_-]|\\.(?!\\.|$))*$",
        "maxLength": MAX_ID,
    });
    Token = json_schema!({
        "description": "1 to 64 characters of A-Z, a-z, 0-9, _, - and single dots.",
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]+)*$",
        "maxLength": 64,
    });
    Subject = json_schema!({
        "description": "A NATS subject of 3 to 12 tokens, without wildcards.",
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]{1,64}(?:\\.[A-Za-z0-9_-]{1,64}){2,11}$",
        "maxLength": 255,
    });
    Moment = json_schema!({
        "description": "RFC 3339, in UTC.",
        "type": "string",
        "format": "date-time",
    });
    Condition = json_schema!({
        "description": "Must equal; a list means one of.",
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {
                "type": "array",
                "items": {"type": ["string", "number", "boolean", "null"]},
                "minItems": 1,
                "maxItems": crate::limits::MAX_ITEMS,
            },
        ],
    });
    RuleCondition = json_schema!({
        "description": "Must equal; a list means one of, and the empty list is met by nobody.",
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {
                "type": "array",
                "items": {"type": ["string", "number", "boolean", "null"]},
                "maxItems": crate::limits::MAX_ITEMS,
            },
        ],
    });
    Object = json_schema!({"type": "object"});
}
