//! What the router and its extensions both need of NATS, so that it stands once.
//!
//! `Intake` takes requests and stops without losing one; `at_once` asks a future without waiting
//! for it; `Outbox` gathers what is sent in the same moment; `headers` reads and builds headers
//! from text that came from outside without a panic; `WallClock` is for deadlines that are a time
//! of day; `Secret` is what nobody can guess who was not told; `Login` logs in with what files hold
//! at each connection.

mod at_once;
mod clock;
pub mod headers;
mod intake;
mod login;
mod outbox;
mod secret;

pub use at_once::at_once;
pub use clock::WallClock;
pub use intake::Intake;
pub use login::{Held, Login};
pub use outbox::Outbox;
pub use secret::Secret;
