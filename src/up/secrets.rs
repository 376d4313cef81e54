//! What a state directory keeps secret: made once, in a file that only its owner can read, and
//! found there by the commands that its owner types.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use beamline_actors::disk;
use secrecy::{ExposeSecret, SecretString};

use crate::keys::{NewKey, NoRandomness, new_password};
use crate::own_files::{self, OTHERS, Refusal};

/// More is none of these.
const LONGEST: u64 = 1_024;

/// Each has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    /// The key of the administration.
    Key,
    /// The password of the NATS server.
    Password,
}

impl Secret {
    pub(super) fn place(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Key => "admin.key",
            Self::Password => "nats.password",
        })
    }

    /// What is there, or something new in its place.
    pub(super) fn open(self, directory: &Path) -> io::Result<SecretString> {
        // What is not ours, or others can read, is no secret of ours.
        if let Ok(Some(kept)) = self.read(directory) {
            return Ok(kept);
        }
        let new = self.make().map_err(io::Error::other)?;
        let line = format!("{}\n", new.expose_secret());
        disk::replace(&self.place(directory), line.as_bytes())?;
        Ok(new)
    }

    /// What a directory holds, if its file is the caller's own and nobody else can read it.
    pub(super) fn read(self, directory: &Path) -> Result<Option<SecretString>, Refusal> {
        let Some(file) = own_files::open_file(&self.place(directory), OTHERS)? else {
            return Ok(None);
        };
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text)?;
        let secret = text.trim();
        Ok((!secret.is_empty()).then(|| secret.into()))
    }

    fn make(self) -> Result<SecretString, NoRandomness> {
        match self {
            Self::Key => Ok(NewKey::admin("up")?.key),
            Self::Password => new_password(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_can_read_it() {
        for secret in [Secret::Key, Secret::Password] {
            let directory = tempfile::tempdir().unwrap();
            assert!(secret.read(directory.path()).unwrap().is_none());
            let made = secret.open(directory.path()).unwrap();
            let again = secret.open(directory.path()).unwrap();
            assert_eq!(made.expose_secret(), again.expose_secret());
            let mode = fs::metadata(secret.place(directory.path())).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_secret_that_others_can_read_or_that_lies_elsewhere_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let made = Secret::Key.open(directory.path()).unwrap();
        let path = Secret::Key.place(directory.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Secret::Key.read(directory.path()).is_err());

        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(Secret::Key.read(directory.path()).is_err());
        let other = Secret::Key.open(directory.path()).unwrap();
        assert_ne!(other.expose_secret(), made.expose_secret());
        let kept = fs::read_to_string(&elsewhere).unwrap();
        assert_eq!(kept.trim(), made.expose_secret(), "the link is replaced");
    }
}
