//! What the store asks of a database, one text each. `postgres` and `sqlite` write every one of
//! them in their own words.
//!
//! The texts of both take the same parameters in the same order and answer the same columns, except
//! where a field says otherwise. Booleans are answered as 0 and 1, JSON as text.

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) connection: ConnectionStatements,
    pub(super) revision: RevisionStatements,
    pub(super) audit: AuditStatements,
    pub(super) objects: ObjectStatements,
    pub(super) extensions: ExtensionStatements,
    pub(super) versions: PartStatements,
    pub(super) instances: PartStatements,
    pub(super) policies: PolicyStatements,
    pub(super) keys: KeyStatements,
    pub(super) nonces: NonceStatements,
    pub(super) fleet_keys: FleetKeyStatements,
    pub(super) health: HealthStatements,
    /// Of one version or instance of an extension. `put` takes the subject, the version and the
    /// instance as well.
    pub(super) target_health: HealthStatements,
}

/// These take no parameters and answer nothing. They differ between the databases.
#[derive(Debug)]
pub(super) struct ConnectionStatements {
    /// Sets the limits of a connection that serves the router.
    pub(super) limit: &'static str,
    /// Lets readers go on while somebody writes, where the database has to be asked for that.
    pub(super) journal: Option<&'static str>,
    /// Sets the limits of a connection that migrates.
    pub(super) limit_migration: &'static str,
    /// Begins a transaction in which every read sees the same revision.
    pub(super) begin_read: &'static str,
    /// Gives the transaction that reads the whole registry more time, where a limit would cut it
    /// off.
    pub(super) extend_read: Option<&'static str>,
    /// Begins a transaction that will write.
    pub(super) begin_write: &'static str,
}

#[derive(Debug)]
pub(super) struct RevisionStatements {
    pub(super) read: &'static str,
    /// Counts up, and takes the lock that puts all writers in order.
    pub(super) next: &'static str,
    /// Tells other replicas on a channel that there is a new revision, where the database can.
    pub(super) announce: Option<&'static str>,
}

/// The audit log and the chain over its rows. Where rows are answered, they have the same columns.
#[derive(Debug)]
pub(super) struct AuditStatements {
    /// Answers the row's id.
    pub(super) insert: &'static str,
    /// The newest first, those that fit all of what is not null. The last parameter says whether
    /// with what was before and after.
    pub(super) list: &'static str,
    /// The ids of rows of the last time that the chain does not have.
    pub(super) unlinked: &'static str,
    /// Those of a list of ids (as JSON) that the chain does not have.
    pub(super) unlinked_of: &'static str,
    /// The ids of rows that the chain does not have and will not get any more: by the clock of the
    /// database, with which their times were written.
    pub(super) outside: &'static str,
    /// The ids of rows whose places are up to a place.
    pub(super) links_before: &'static str,
    /// Of the chain, with their rows, behind a place in it.
    pub(super) links: &'static str,
    /// The last place of the chain, or what was taken away last, and its hash.
    pub(super) head: &'static str,
    /// The hash at a place.
    pub(super) at_seq: &'static str,
    /// The last place that was taken away. What says so of places that are there does not count.
    pub(super) pruned: &'static str,
    /// What does not count, given what does.
    pub(super) false_prunings: &'static str,
    pub(super) add_link: &'static str,
    /// The first place of a row since a time.
    pub(super) first_since: &'static str,
    pub(super) add_pruning: &'static str,
    /// Up to a place.
    pub(super) delete_rows: &'static str,
    pub(super) delete_links: &'static str,
}

/// The revisions at which objects were changed last, by kind and id.
#[derive(Debug)]
pub(super) struct ObjectStatements {
    pub(super) all: &'static str,
    pub(super) one: &'static str,
}

#[derive(Debug)]
pub(super) struct ExtensionStatements {
    pub(super) all: &'static str,
    pub(super) one: &'static str,
    pub(super) insert: &'static str,
    /// Takes what `insert` takes.
    pub(super) update: &'static str,
    pub(super) delete: &'static str,
}

/// For the versions of an extension, and for its instances.
#[derive(Debug)]
pub(super) struct PartStatements {
    pub(super) all: &'static str,
    pub(super) of_extension: &'static str,
    pub(super) insert: &'static str,
    /// All of one extension.
    pub(super) delete: &'static str,
}

#[derive(Debug)]
pub(super) struct PolicyStatements {
    pub(super) all: &'static str,
    pub(super) one: &'static str,
    pub(super) put: &'static str,
    pub(super) delete: &'static str,
}

#[derive(Debug)]
pub(super) struct KeyStatements {
    pub(super) all: &'static str,
    pub(super) one: &'static str,
    pub(super) insert: &'static str,
    /// Sets the end of one.
    pub(super) expire: &'static str,
    pub(super) delete: &'static str,
}

#[derive(Debug)]
pub(super) struct NonceStatements {
    pub(super) insert: &'static str,
    /// Those that were used before a time.
    pub(super) forget: &'static str,
}

#[derive(Debug)]
pub(super) struct FleetKeyStatements {
    /// The last two.
    pub(super) newest: &'static str,
    /// Inserts nothing when there is one of this number or a later one.
    pub(super) insert: &'static str,
    /// Those before a number.
    pub(super) forget: &'static str,
}

#[derive(Debug)]
pub(super) struct HealthStatements {
    /// Writes the row of one replica, unless the extension was deleted meanwhile.
    pub(super) put: &'static str,
    /// All of one extension.
    pub(super) delete: &'static str,
    /// Those that were written before a time.
    pub(super) forget: &'static str,
}
