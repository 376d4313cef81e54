//! What there is to try: a new database holds a policy for the reference extensions
//! (`migrations/shared`).

pub const TENANT: &str = "demo";
pub const POLICY: &str = "default";
/// The blanks are there to be tidied up on the way.
pub const MESSAGE: &str = "Hello   from the other side";
/// Of a registry that nobody has changed.
pub const REVISION: u64 = 2;
