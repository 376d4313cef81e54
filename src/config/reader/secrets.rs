//! Secrets: each is written under its own key, or in a file that `<key>_file` names.

use std::path::{Path, PathBuf};

use config::Value;
use secrecy::SecretString;

use super::super::content::read_limited;
use super::super::printout::REDACTED;
use super::super::values::{Problem, Written, without_line_end};
use super::{Reader, checked};

/// A key file of this size would be no key.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
const RESTRICT: &str = "restrict it with chmod 600";

impl Reader {
    /// A secret that may be missing. `redact` says how it may be shown.
    pub(in super::super) fn secret(
        &mut self,
        key: &str,
        redact: fn(&str) -> String,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<SecretString> {
        self.text_or_file(key, None, redact, check)
            .map(SecretString::from)
    }

    /// The file that a secret was read from, which may hold another one later.
    pub(in super::super) fn file_of_secret(&self, key: &str) -> Option<PathBuf> {
        self.secret_files.get(key).cloned()
    }

    /// A secret whose default is none, such as the address of the embedded database.
    pub(in super::super) fn secret_or(
        &mut self,
        key: &str,
        default: &str,
        redact: fn(&str) -> String,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> SecretString {
        let given = self.text_or_file(key, Some(default), redact, check);
        given.unwrap_or_else(|| default.to_owned()).into()
    }

    fn text_or_file(
        &mut self,
        key: &str,
        default: Option<&str>,
        redact: fn(&str) -> String,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<String> {
        let file_key = format!("{key}_file");
        self.notice_secrets_in_file(key, redact);
        let check = |text: &str| {
            if text.contains(REDACTED) {
                Err(left_out())
            } else {
                check(text)
            }
        };

        let direct = self.value(key, |value| checked(value, check));
        let path = self.value(&file_key, |value| checked(value, |_| Ok(())));
        let (direct, path) = self.direct_or_file(key, direct, path.map(PathBuf::from));
        let shown = match (&direct, &path, default) {
            (Some(text), _, _) => Some(redact(text)),
            (None, None, Some(default)) => Some(default.to_owned()),
            (None, _, _) => None,
        };
        self.record(key, shown.map(Into::into));
        let shown = path.as_ref().map(|path| path.display().to_string());
        self.record(&file_key, shown.map(Into::into));

        match (direct, path) {
            (Some(text), _) => Some(text),
            (None, Some(path)) => {
                let text = self.secret_from_file(&file_key, &path, check);
                self.secret_files.insert(key.to_owned(), path);
                text
            }
            (None, None) => None,
        }
    }

    /// Of a secret and its file in two layers the later layer counts; in one layer nobody can say
    /// which was meant.
    fn direct_or_file(
        &mut self,
        key: &str,
        direct: Option<String>,
        path: Option<PathBuf>,
    ) -> (Option<String>, Option<PathBuf>) {
        let file_key = format!("{key}_file");
        let direct_origin = self.origin(key);
        let path_origin = self.origin(&file_key);
        if !self.given(key) {
            (direct, path)
        } else if direct_origin.same_layer(&path_origin) {
            self.mistake(
                key,
                &format!("and {file_key} are both given; keep one of them"),
            );
            (direct, None)
        } else if direct_origin > path_origin {
            (direct, None)
        } else {
            (None, path)
        }
    }

    fn secret_from_file(
        &mut self,
        file_key: &str,
        path: &Path,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<String> {
        match read_secret(path) {
            Ok((text, world_readable)) => {
                if world_readable {
                    self.warn_world_readable(file_key, path);
                }
                if let Err(problem) = check(&text) {
                    self.mistake(file_key, &format!("names a file whose content {problem}"));
                }
                Some(text)
            }
            Err(problem) => {
                self.mistake(file_key, &problem);
                None
            }
        }
    }

    fn notice_secrets_in_file(&mut self, key: &str, redact: fn(&str) -> String) {
        let is_secret = |value: &Value| matches!(Written::of(value), Written::Text(text) if redact(text) != text);
        self.secret_in_file |= self.layers.file.values_of(key).any(is_secret);
    }

    pub(super) fn warn_of_secrets_in_file(&mut self) {
        if let Some(path) = &self.layers.world_readable_file
            && self.secret_in_file
        {
            self.warn(format!(
                "{} holds a secret and everybody can read it; {RESTRICT}",
                path.display()
            ));
        }
    }

    pub(super) fn warn_world_readable(&mut self, key: &str, path: &Path) {
        self.warn(format!(
            "{key}: everybody can read {}; {RESTRICT}",
            path.display()
        ));
    }
}

fn left_out() -> Problem {
    format!(
        "holds {REDACTED}, which stands for a secret that was left out in print; put the secret in its place"
    )
}

/// A secret, and whether everybody can read its file.
pub(in super::super) fn read_secret(path: &Path) -> Result<(String, bool), Problem> {
    let content = read_limited(path, MAX_SECRET_BYTES)
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    let text = String::from_utf8(content.bytes)
        .map_err(|_| "names a file that is not valid UTF-8".to_owned())?;
    let text = without_line_end(&text);
    if text.is_empty() {
        return Err("names a file that is empty".to_owned());
    }
    Ok((text.to_owned(), content.world_readable))
}
