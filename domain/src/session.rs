//! Sticky sessions: under which key a session is kept, which provider has it, and until when.

mod cache;
mod key;
mod pin;
mod quota;
#[cfg(test)]
mod tests;

pub use cache::{Look, SessionCache};
pub use key::SessionKey;
pub use pin::{Pin, Pinned, Recalled, Stored};
pub use quota::SessionQuota;
