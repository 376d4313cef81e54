//! Write an extension of Beamline Router in about ten lines of Rust.
//!
//! An extension is a program that answers NATS requests. The author writes one async function; this
//! crate brings the connection, the subject, the queue group, discovery, deadlines, overload,
//! tracing, error answers and a clean stop.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use beamline_extension::{CallContext, Edit, Extension, Failure, Message};
//!
//! async fn shout(message: Message, _call: CallContext) -> Result<Edit, Failure> {
//!     match message.payload_as::<String>() {
//!         Ok(text) => Ok(Edit::replace(message.with_payload(&text.to_uppercase())?)),
//!         Err(_) => Ok(Edit::unchanged()),
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     Extension::pre("shout", shout).run().await
//! }
//! ```
//!
//! Modules in reading order: what an author sees first, then how a call is served.

mod settings;

mod answer_part;
mod context;
mod extension;
mod failure;
mod fields;
mod message;
mod program;
mod provider;
mod raw;

mod process;
mod running;
mod start_error;
mod summary;

mod call;
mod connection;
mod discovery;
mod handler;
mod server;
mod stats;
mod subscription;

pub use beamline_contract::failure::FailureKind;
pub use beamline_contract::notes::{MAX_NOTES, Notes};
pub use beamline_contract::record::Kind;
pub use beamline_contract::trace::TraceParent;
pub use context::CallContext;
pub use extension::Extension;
pub use failure::Failure;
pub use fields::Fields;
pub use message::{Edit, Message, Verdict};
pub use program::Program;
pub use provider::{Completion, Prompt, Usage};
pub use raw::{RawAnswer, RawRequest};
pub use running::Running;
pub use settings::{LogFormat, Settings};
pub use start_error::StartError;
pub use stats::Counts;
pub use summary::Summary;

/// The NATS client whose types appear in this crate's interface.
pub use async_nats;
pub use bytes::Bytes;
pub use serde_json::value::RawValue;
