//! Files that outlive the process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes beside the old file and moves the new one over it, so that a crash leaves one of the two.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
