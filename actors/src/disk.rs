//! Files that outlive the process, for its own user only: some hold keys.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Only the user of this process reads and writes what it keeps.
const MODE: u32 = 0o600;

/// Writes beside the old file and moves the new one over it, so that a crash leaves one of the two.
/// A link in either place is replaced, not followed.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn create(path: &Path) -> io::Result<File> {
    let new = || {
        let mut options = File::options();
        options.write(true).create_new(true).mode(MODE).open(path)
    };
    match new() {
        // Of a process that had this number and ended in the middle, or of somebody who waits for
        // us to write there.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            new()
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn no_link_is_followed_and_nobody_else_can_read() {
        let folder = std::env::temp_dir().join(format!("disk-{}", fastrand::u64(..)));
        fs::create_dir(&folder).unwrap();
        let place = |name: &str| folder.join(name);
        let beside = place("kept.json").with_extension(format!("{}.new", std::process::id()));
        fs::write(place("other"), "another's").unwrap();
        for link in [place("kept.json"), beside] {
            symlink(place("other"), link).unwrap();
        }
        replace(&place("kept.json"), b"ours").unwrap();
        assert_eq!(fs::read_to_string(place("other")).unwrap(), "another's");
        let kept = fs::symlink_metadata(place("kept.json")).unwrap();
        assert!(kept.is_file());
        assert_eq!(kept.permissions().mode() & 0o777, MODE);
        fs::remove_dir_all(folder).unwrap();
    }
}
