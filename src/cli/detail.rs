//! How much of an explanation is wanted.

use beamline_contract::fields::Fields;
use clap::ValueEnum;

use super::pairs::{Pair, as_fields};

/// The detail level of an explanation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Detail {
    Minimal,
    #[default]
    Detailed,
    Verbose,
}

/// The context with the detail level that was asked for. Only then: extensions and routing rules
/// see it, too.
pub(super) fn in_context(context: &[Pair], detail: Option<Detail>) -> Fields {
    let mut context = as_fields(context);
    if let Some(detail) = detail {
        let word = match detail {
            Detail::Minimal => "minimal",
            Detail::Detailed => "detailed",
            Detail::Verbose => "verbose",
        };
        context.set_text("detail_level", word);
    }
    context
}
