//! Files that outlive the process, for its own user only: some hold keys.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes beside the old file and moves the new one over it, so that a crash leaves one of the two.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    // What a crash left may be open to others.
    let _ = fs::remove_file(&beside);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
