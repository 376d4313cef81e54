//! Files and folders of this user alone. Whose one is, is asked of what is open, so that nothing is
//! put in its place meanwhile.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ROOT, Uid};

/// Every right of everybody else.
pub(crate) const OTHERS: u32 = 0o077;
/// The rights of others to write.
pub(crate) const OTHERS_WRITE: u32 = 0o022;
const EVERYBODY_WRITES: u32 = 0o002;
const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;
/// Everybody may put something there, and take away only what is their own, as in /tmp.
const STICKY: u32 = 0o1000;

/// Why something is not used or believed. What it is about comes before it, in a sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is a link, which may lead to anything")]
    Link,
    #[error("it belongs to another user (number {0})")]
    Foreign(u32),
    #[error("others may {} it (its mode is {:04o})", if mode & OTHERS_WRITE == 0 { "read" } else { "change" }, mode & 0o7777)]
    Open { mode: u32 },
    #[error("it is no {0}")]
    Kind(&'static str),
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// From here on, what this process and the programs that it starts create is this user's alone.
pub(crate) fn close_new_files() {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// A folder that only this user can look into: made so, or closed to others if it is this user's
/// and `is_ours` knows it. What holds other things as well stays as it is, and is refused where it
/// is open. The answer can be locked.
pub(crate) fn own_folder(path: &Path, is_ours: impl Fn(&Path) -> bool) -> Result<File, Refusal> {
    let path = without_last_slash(path);
    if path.is_symlink() {
        return Err(Refusal::Link);
    }
    make_folder(&path)?;
    let folder = open_folder(&path)?;
    let found = folder.metadata()?;
    match check(&found, OTHERS) {
        // Of a folder that everybody uses, such as /tmp, nobody may be locked out: nothing would
        // work any more.
        Err(Refusal::Open { .. }) if found.mode() & STICKY == 0 && is_ours(&path) => {
            take_away(&folder, &found, OTHERS)?;
        }
        checked => checked?,
    }
    Ok(folder)
}

/// The folder of a router that a platform has prepared: it may be root's, and root may have put a
/// link there. Answers whether everybody may still write to it.
pub(crate) fn given_folder(path: &Path) -> Result<bool, Refusal> {
    let is_trusted = |found: &Metadata| [me(), ROOT.as_raw()].contains(&found.uid());
    let path = without_last_slash(path);
    match fs::symlink_metadata(&path) {
        Ok(link) if link.is_symlink() && !is_trusted(&link) => return Err(Refusal::Link),
        Ok(_) | Err(_) => make_folder(&path)?,
    }
    let folder = File::open(&path)?;
    let found = folder.metadata()?;
    if !found.is_dir() {
        return Err(Refusal::Kind("folder"));
    }
    if !is_trusted(&found) {
        return Err(Refusal::Foreign(found.uid()));
    }
    // Somebody may have named a folder that is not for this alone: who reads there goes on reading.
    // Files are made for this user only.
    if found.uid() == me() && found.mode() & STICKY == 0 {
        // A file system that can only be read stays as it is.
        let _closed = take_away(&folder, &found, OTHERS_WRITE);
    }
    Ok(folder.metadata()?.mode() & EVERYBODY_WRITES != 0)
}

/// A folder that is there, and whose handle is no link's.
pub(crate) fn open_folder(path: &Path) -> Result<File, Refusal> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let mut options = File::options();
    let opened = options.read(true).custom_flags(flags.bits()).open(path);
    opened.map_err(|error| {
        let is_no_folder = error.kind() == io::ErrorKind::NotADirectory;
        match (is_no_folder, path.is_symlink()) {
            (true, true) => Refusal::Link,
            (true, false) => Refusal::Kind("folder"),
            (false, _) => refusal(error),
        }
    })
}

/// Opens a file to read, if it is this user's and nobody else has one of `rights`. `None` when
/// there is nothing.
pub(crate) fn open_file(path: &Path, rights: u32) -> Result<Option<File>, Refusal> {
    // A pipe that somebody has put there must not hold us up.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = File::options();
    let file = match options.read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refusal(error)),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Refusal::Kind("file"));
    }
    check(&found, rights)?;
    Ok(Some(file))
}

/// Whether something is this user's, and nobody else has one of `rights`.
pub(crate) fn check(found: &Metadata, rights: u32) -> Result<(), Refusal> {
    if found.uid() != me() {
        return Err(Refusal::Foreign(found.uid()));
    }
    if found.mode() & rights != 0 {
        return Err(Refusal::Open { mode: found.mode() });
    }
    Ok(())
}

/// A file that is written behind what is there. Of a link this is an error: somebody else's file
/// would be written to.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    open_no_link(path, File::options().append(true))
}

/// A file that is read and written from its beginning; otherwise as [`append`].
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    open_no_link(path, File::options().read(true).write(true))
}

fn open_no_link(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW.bits();
    options
        .create(true)
        .mode(FILE)
        .custom_flags(flags)
        .open(path)
}

/// Takes from others what they may do with a file, if it is this user's. Nobody else can reach it
/// by now, so that nothing changes between two looks.
pub(crate) fn close_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.uid() == me() && found.mode() & OTHERS != 0 => {
            fs::set_permissions(path, without(&found, OTHERS))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The same for all that is in a folder, and in `depth` folders below it.
pub(crate) fn close_files_in(folder: &Path, depth: usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() && found.uid() == me() && depth > 0 {
            fs::set_permissions(entry.path(), without(&found, OTHERS))?;
            close_files_in(&entry.path(), depth - 1)?;
        } else {
            close_file(&entry.path())?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

fn take_away(file: &File, found: &Metadata, rights: u32) -> io::Result<()> {
    if found.mode() & rights == 0 {
        return Ok(());
    }
    file.set_permissions(without(found, rights))
}

fn without(found: &Metadata, rights: u32) -> Permissions {
    Permissions::from_mode(found.mode() & 0o7777 & !rights)
}

fn refusal(error: io::Error) -> Refusal {
    if error.raw_os_error() == Some(Errno::ELOOP as i32) {
        return Refusal::Link;
    }
    Refusal::Failed(error)
}

fn me() -> u32 {
    Uid::effective().as_raw()
}

/// With one, the system would follow a link.
fn without_last_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests;
