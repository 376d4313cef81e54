//! Reads small files: the configuration, and those that hold one secret each.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const EVERYBODY_READS: u32 = 0o004;

pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Everybody on this machine can read the file.
    pub(super) world_readable: bool,
}

pub(super) fn read_limited(path: &Path, max_bytes: u64) -> io::Result<Content> {
    let file = File::open(path)?;
    let world_readable = everybody_reads(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {max_bytes} bytes"),
        ));
    }
    Ok(Content {
        bytes,
        world_readable,
    })
}

/// Whether everybody on this machine can read the file, which is an error if not even the router
/// can.
pub(super) fn is_world_readable(path: &Path) -> io::Result<bool> {
    let metadata = File::open(path)?.metadata()?;
    if metadata.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Ok(everybody_reads(&metadata))
    }
}

fn everybody_reads(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & EVERYBODY_READS != 0
}
