//! Places at which a router panics or blocks, which a test sets while the router runs.

use tempfile::NamedTempFile;

/// The file that a router reads them from.
#[derive(Debug)]
pub struct FailPoints(NamedTempFile);

impl FailPoints {
    pub fn new() -> Self {
        Self(NamedTempFile::new().expect("a file"))
    }

    /// The environment variable that names the file.
    pub fn variable(&self) -> (&'static str, String) {
        ("BEAMLINE_FAIL_POINTS", self.0.path().display().to_string())
    }

    /// Lines such as `pipeline panic 0.01`.
    pub fn set(&self, lines: &str) {
        std::fs::write(self.0.path(), lines).expect("a file");
    }
}

impl Default for FailPoints {
    fn default() -> Self {
        Self::new()
    }
}
