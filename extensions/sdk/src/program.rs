//! A program: one extension, or several that belong together.

use crate::discovery::Endpoint;
use crate::extension::Extension;
use crate::settings::Settings;
use crate::start_error::StartError;

/// Several extensions in one process, such as one that masks a message and one that puts back what
/// was masked. They are endpoints of one NATS service, and only so may one get the notes of
/// another.
///
/// ```no_run
/// # use beamline_extension::{CallContext, Edit, Extension, Failure, Message, Program};
/// # async fn mask(_: Message, _: CallContext) -> Result<Edit, Failure> { Ok(Edit::unchanged()) }
/// # async fn back(_: Message, _: CallContext) -> Result<Edit, Failure> { Ok(Edit::unchanged()) }
/// # async fn start() -> std::process::ExitCode {
/// let extensions = [Extension::pre("mask_in", mask), Extension::post("mask", back)];
/// Program::new("mask", extensions).run().await
/// # }
/// ```
#[derive(Debug)]
pub struct Program {
    pub(crate) name: String,
    pub(crate) extensions: Vec<Extension>,
}

impl Program {
    /// `name` is the name of the NATS service, a plain token as an extension's id is.
    pub fn new(name: impl Into<String>, extensions: impl IntoIterator<Item = Extension>) -> Self {
        Self {
            name: name.into(),
            extensions: extensions.into_iter().collect(),
        }
    }

    /// A program with one extension has its name.
    pub(crate) fn of(extension: Extension) -> Self {
        Self::new(extension.id.clone(), [extension])
    }

    /// Where its extensions listen.
    pub(crate) fn endpoints(&self, settings: &Settings) -> Result<Vec<Endpoint>, StartError> {
        let elsewhere = Settings {
            subject: None,
            ..settings.clone()
        };
        let endpoint = |(position, extension): (usize, &Extension)| {
            // A subject that is given is that of the first.
            let settings = if position == 0 { settings } else { &elsewhere };
            Ok(Endpoint {
                subject: settings.subject_for(extension.kind, &extension.id)?,
                queue_group: settings.queue_group_for(&extension.id)?,
                id: extension.id.clone(),
                kind: extension.kind,
                config_schema: extension.published_schema()?,
            })
        };
        let endpoints: Result<Vec<Endpoint>, StartError> =
            self.extensions.iter().enumerate().map(endpoint).collect();
        let endpoints = endpoints?;
        Settings::check_name(&self.name)?;
        Ok(endpoints)
    }
}
