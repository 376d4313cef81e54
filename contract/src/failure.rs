//! What a failure of an extension is about (contract section 2).

use crate::word::words;

words! {
    /// The class of a failure. An extension may name it, policies write rules for it, and answers
    /// tell it.
    pub enum FailureKind {
        /// No answer in time.
        Timeout = "timeout",
        /// It failed, or is overloaded.
        ServerError = "5xx",
        /// Too many requests or tokens in a short time; waiting helps.
        RateLimited = "429",
        /// The request is wrong.
        ClientError = "4xx",
        /// Nobody listens.
        NoResponders = "no_responders",
        /// Credit or a spend limit is used up; waiting does not help.
        Quota = "quota",
        /// The key is refused, or may not do this.
        Auth = "auth",
        /// The prompt is too long for the model.
        ContextLength = "context_length",
        /// The provider refuses the content.
        ContentFilter = "content_filter",
        /// A stream broke.
        Cut = "cut",
        /// An answer without content.
        Empty = "empty",
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}
