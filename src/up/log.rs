//! The router's log while `up` holds the terminal: warnings for the person there, everything in a
//! file.

use super::error::UpError;
use super::state::StateDir;
use crate::observe::logs::{self, LogGuard};
use crate::own_files;

/// The name of the file among the logs.
pub const ROUTER: &str = "beamline-router";

/// Sets up logging for this process. If that has been done before, the first one stays. `filter` is
/// for the file.
pub fn start(state: &StateDir, filter: &str) -> Result<LogGuard, UpError> {
    let path = state.log_file(ROUTER);
    let file = own_files::append(&path).map_err(|error| {
        UpError(format!(
            "the log {} cannot be written: {error}.",
            path.display()
        ))
    })?;
    Ok(logs::start_in_file(file, filter))
}
