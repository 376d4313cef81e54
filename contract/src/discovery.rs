//! What an extension says of itself in the discovery data of the NATS service protocol (ADR-32 of
//! NATS).

/// In the metadata of an endpoint: the JSON Schema of its config, as a text.
pub const CONFIG_SCHEMA: &str = "beamline.config_schema";
/// Bytes of such a schema that are read.
pub const MAX_CONFIG_SCHEMA: usize = 64 * 1024;
