//! How much of an explanation is wanted.

use clap::ValueEnum;

use super::pairs::Pair;

/// The detail level of an explanation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Detail {
    Minimal,
    #[default]
    Detailed,
    Verbose,
}

/// The context with the detail level that was asked for. Only then: extensions and routing rules see it, too.
pub(in crate::cli) fn in_context(context: &[Pair], detail: Option<Detail>) -> Vec<Pair> {
    let word = detail.map(|detail| match detail {
        Detail::Minimal => "minimal",
        Detail::Detailed => "detailed",
        Detail::Verbose => "verbose",
    });
    context
        .iter()
        .cloned()
        .chain(word.map(|word| Pair::text("detail_level", word)))
        .collect()
}
