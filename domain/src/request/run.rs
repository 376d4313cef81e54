//! One request on its way through the pipeline: what has happened so far, and what comes next.

mod advance;
mod choice;
mod consequences;
mod exclusions;
mod held;
mod output;
mod reported;
mod results;
mod sessions;
mod state;
mod step;

pub use consequences::is_fatal;
pub use state::{
    Attempt, CallOrder, CallResult, Decision, Degraded, Next, Report, Response, Run, Session,
    TimeShare,
};
pub use step::Stage;

#[cfg(test)]
mod tests;
