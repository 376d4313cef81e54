use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_is_made_for_its_user_and_one_that_is_there_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join("a/b");
    own_folder(&new, |_| false).unwrap();
    assert_eq!(mode(&new), 0o700);
    set_mode(&new, 0o777);
    own_folder(&new, |_| false).unwrap_err();
    assert_eq!(mode(&new), 0o777);
    own_folder(&new, |_| true).unwrap();
    assert_eq!(mode(&new), 0o700);

    // Others may read where they could: it may hold more than what is ours.
    set_mode(&new, 0o777);
    assert!(!given_folder(&new).unwrap());
    assert_eq!(mode(&new), 0o755);
    set_mode(&new, 0o1777);
    assert!(given_folder(&new).unwrap(), "as /tmp is");
    let refused = own_folder(&new, |_| true).map(drop);
    assert!(matches!(refused, Err(Refusal::Open { .. })), "{refused:?}");
    assert_eq!(mode(&new), 0o1777);
}

#[test]
fn what_is_a_link_or_no_folder_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::create_dir(place("folder")).unwrap();
    fs::write(place("file"), "").unwrap();
    symlink(place("folder"), place("link")).unwrap();
    for link in ["link", "link/", "link/."] {
        let refused = own_folder(&place(link), |_| true).unwrap_err();
        assert!(matches!(refused, Refusal::Link), "{link}: {refused}");
    }
    assert!(open_folder(&place("link")).is_err());
    // Who runs the router has put the link there.
    given_folder(&place("link")).unwrap();
    for none in [
        own_folder(&place("file"), |_| true).err(),
        given_folder(&place("file")).err(),
    ] {
        assert!(none.is_some());
    }
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    // Only root can give something away, and nobody else has what is root's.
    let foreign = if Uid::effective().is_root() {
        std::os::unix::fs::chown(directory.path(), Some(1), None).unwrap();
        assert!(given_folder(directory.path()).is_err());
        directory.path()
    } else {
        Path::new("/")
    };
    let refused = own_folder(foreign, |_| true).unwrap_err();
    assert!(matches!(refused, Refusal::Foreign(_)), "{refused}");
}

#[test]
fn a_file_is_read_only_where_it_is_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    assert!(open_file(&place("none"), OTHERS).unwrap().is_none());
    fs::write(place("file"), "").unwrap();
    set_mode(&place("file"), 0o644);
    assert!(open_file(&place("file"), OTHERS_WRITE).unwrap().is_some());
    let refused = open_file(&place("file"), OTHERS).unwrap_err().to_string();
    assert_eq!(refused, "others may read it (its mode is 0644)");
    set_mode(&place("file"), 0o666);
    let refused = open_file(&place("file"), OTHERS_WRITE).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "others may change it (its mode is 0666)"
    );

    symlink(place("file"), place("link")).unwrap();
    let refused = open_file(&place("link"), OTHERS).unwrap_err();
    assert!(matches!(refused, Refusal::Link), "{refused}");
    append(&place("link")).unwrap_err();
    open_or_create(&place("link")).unwrap_err();
    append(&place("new")).unwrap();
    assert_eq!(mode(&place("new")) & OTHERS, 0);
}

#[test]
fn a_pipe_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let since = Instant::now();
    open_file(&pipe, OTHERS).unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[test]
fn what_was_left_open_is_closed_and_stays_a_program() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::create_dir_all(place("logs/earlier")).unwrap();
    for name in ["registry.db", "program", "logs/a.log", "logs/earlier/b.log"] {
        fs::write(place(name), "").unwrap();
        set_mode(&place(name), 0o755);
    }
    set_mode(&place("registry.db"), 0o644);
    close_files_in(directory.path(), 0).unwrap();
    assert_eq!(mode(&place("registry.db")), 0o600);
    assert_eq!(mode(&place("program")), 0o700);
    assert_eq!(mode(&place("logs/a.log")), 0o755);
    close_files_in(directory.path(), 2).unwrap();
    assert_eq!(mode(&place("logs/earlier")), 0o700);
    assert_eq!(mode(&place("logs/earlier/b.log")), 0o700);
}
