//! Where a document comes from: a file, standard input, or a running router.

use std::io::Read;

use super::Failure;

/// The most that is read: far beyond any message NATS would carry.
const LIMIT: u64 = 64 * 1024 * 1024;

/// A document that somebody named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(String),
    StandardInput,
    Router { tenant: String, policy: String },
}

impl Source {
    pub(super) fn parse(argument: &str) -> Result<Self, String> {
        let Some(stored) = argument.strip_prefix("router:") else {
            return Self::local(argument);
        };
        match stored.split_once('/') {
            Some((tenant, policy))
                if !tenant.is_empty() && !policy.is_empty() && !policy.contains('/') =>
            {
                Ok(Self::Router {
                    tenant: tenant.to_owned(),
                    policy: policy.to_owned(),
                })
            }
            _ => Err("write it as router:TENANT/POLICY".to_owned()),
        }
    }

    /// Everything but a router.
    pub(super) fn local(argument: &str) -> Result<Self, String> {
        Ok(if argument == "-" {
            Self::StandardInput
        } else {
            Self::File(argument.to_owned())
        })
    }

    /// As it stands in front of `:LINE:COLUMN`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(file) => file.clone(),
            Self::StandardInput => "stdin".to_owned(),
            Self::Router { tenant, policy } => format!("router:{tenant}/{policy}"),
        }
    }

    /// The text, whatever it is; `None` when a router has it.
    pub(super) fn read(&self) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        let done = match self {
            Self::File(file) => std::fs::File::open(file)
                .and_then(|file| file.take(LIMIT).read_to_string(&mut text)),
            Self::StandardInput => std::io::stdin().take(LIMIT).read_to_string(&mut text),
            Self::Router { .. } => return Ok(None),
        };
        match done {
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(Failure::Usage(format!(
                "cannot read {}: {error}.",
                self.name()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_named_with_tenant_and_policy() {
        let router = Source::Router {
            tenant: "acme".into(),
            policy: "default".into(),
        };
        assert_eq!(Source::parse("router:acme/default"), Ok(router));
        assert_eq!(
            Source::parse("./router:x"),
            Ok(Source::File("./router:x".into()))
        );
        assert_eq!(Source::parse("-"), Ok(Source::StandardInput));
        for wrong in [
            "router:",
            "router:acme",
            "router:/default",
            "router:acme/",
            "router:a/b/c",
        ] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let failure = Source::File("/nowhere/policy.json".into())
            .read()
            .expect_err("no such file");
        assert!(
            failure
                .sentence()
                .starts_with("error: cannot read /nowhere/policy.json: "),
            "{}",
            failure.sentence()
        );
        assert_eq!(failure.exit_code(), 2);
    }
}
