//! The key of a state directory: made once, kept in a file that only its owner can read, and found
//! there by the commands that its owner types.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::Uid;
use secrecy::{ExposeSecret, SecretString};

use crate::keys::NewKey;

const FILE: &str = "admin.key";
/// Only its owner reads and writes it.
const MODE: u32 = 0o600;
/// More is no key.
const LONGEST: u64 = 1_024;

/// The key that is there, or a new one.
pub(super) fn open(directory: &Path) -> io::Result<SecretString> {
    if let Some(key) = read(directory)? {
        return Ok(key);
    }
    let new = NewKey::admin("up").map_err(io::Error::other)?;
    let path = directory.join(FILE);
    // What is there is no key of ours.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&path)?;
    writeln!(file, "{}", new.key.expose_secret())?;
    file.sync_all()?;
    Ok(new.key)
}

/// The key of a directory, if its file is the caller's own and nobody else can read it.
pub(super) fn read(directory: &Path) -> io::Result<Option<SecretString>> {
    let path = directory.join(FILE);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    if !is_file {
        return Ok(None);
    }
    let file = File::open(&path)?;
    if !is_own(&file)? {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    let key = text.trim();
    Ok((!key.is_empty()).then(|| key.into()))
}

/// Asked of what is open, so that nothing is put in its place meanwhile.
fn is_own(file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    Ok(found.is_file() && found.uid() == Uid::effective().as_raw() && found.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).unwrap().is_none());
        let made = open(directory.path()).unwrap();
        let again = open(directory.path()).unwrap();
        assert_eq!(made.expose_secret(), again.expose_secret());
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_lies_elsewhere_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let made = open(directory.path()).unwrap();
        let path = directory.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(directory.path()).unwrap().is_none());

        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(MODE)).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(read(directory.path()).unwrap().is_none());
        let other = open(directory.path()).unwrap();
        assert_ne!(other.expose_secret(), made.expose_secret());
        let kept = fs::read_to_string(&elsewhere).unwrap();
        assert_eq!(kept.trim(), made.expose_secret(), "the link is replaced");
    }
}
