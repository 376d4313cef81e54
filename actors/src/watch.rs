//! What is done beside the calls, as long as the router lives: pings, health rows, the file of open breakers, forgetting.

mod health_rows;
mod idle;
mod open_breakers;
mod pings;

pub use health_rows::HealthLog;
pub(crate) use health_rows::write_health_rows;
pub(crate) use idle::forget_idle_targets;
pub(crate) use open_breakers::{keep_open_breakers, reopen_breakers};
pub(crate) use pings::ping_silent_extensions;
