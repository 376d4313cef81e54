//! The files of `migrations/`, in the order in which they are applied.

/// One file. Version and name also stand in the file's own name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

pub(super) const POSTGRES: &[File] = &[
    File {
        version: 1,
        name: "registry",
        sql: include_str!("../../../migrations/postgres/0001_registry.sql"),
    },
    SEEDS,
    File {
        version: 3,
        name: "breakers",
        sql: include_str!("../../../migrations/postgres/0003_breakers.sql"),
    },
    File {
        version: 4,
        name: "breaker resets",
        sql: include_str!("../../../migrations/postgres/0004_breaker_resets.sql"),
    },
    File {
        version: 5,
        name: "max in flight",
        sql: include_str!("../../../migrations/postgres/0005_max_in_flight.sql"),
    },
    File {
        version: 6,
        name: "health of targets",
        sql: include_str!("../../../migrations/postgres/0006_health_of_targets.sql"),
    },
    File {
        version: 7,
        name: "faces",
        sql: include_str!("../../../migrations/postgres/0007_faces.sql"),
    },
    MASK_PII_IN,
    File {
        version: 9,
        name: "keys",
        sql: include_str!("../../../migrations/postgres/0009_keys.sql"),
    },
    File {
        version: 10,
        name: "large messages",
        sql: include_str!("../../../migrations/postgres/0010_large_messages.sql"),
    },
    File {
        version: 11,
        name: "revisions",
        sql: include_str!("../../../migrations/postgres/0011_revisions.sql"),
    },
    File {
        version: 12,
        name: "audit",
        sql: include_str!("../../../migrations/postgres/0012_audit.sql"),
    },
    File {
        version: 13,
        name: "fleet keys",
        sql: include_str!("../../../migrations/postgres/0013_fleet_keys.sql"),
    },
];

pub(super) const SQLITE: &[File] = &[
    File {
        version: 1,
        name: "registry",
        sql: include_str!("../../../migrations/sqlite/0001_registry.sql"),
    },
    SEEDS,
    File {
        version: 3,
        name: "breakers",
        sql: include_str!("../../../migrations/sqlite/0003_breakers.sql"),
    },
    File {
        version: 4,
        name: "breaker resets",
        sql: include_str!("../../../migrations/sqlite/0004_breaker_resets.sql"),
    },
    File {
        version: 5,
        name: "max in flight",
        sql: include_str!("../../../migrations/sqlite/0005_max_in_flight.sql"),
    },
    File {
        version: 6,
        name: "health of targets",
        sql: include_str!("../../../migrations/sqlite/0006_health_of_targets.sql"),
    },
    File {
        version: 7,
        name: "faces",
        sql: include_str!("../../../migrations/sqlite/0007_faces.sql"),
    },
    MASK_PII_IN,
    File {
        version: 9,
        name: "keys",
        sql: include_str!("../../../migrations/sqlite/0009_keys.sql"),
    },
    File {
        version: 10,
        name: "large messages",
        sql: include_str!("../../../migrations/sqlite/0010_large_messages.sql"),
    },
    File {
        version: 11,
        name: "revisions",
        sql: include_str!("../../../migrations/sqlite/0011_revisions.sql"),
    },
    File {
        version: 12,
        name: "audit",
        sql: include_str!("../../../migrations/sqlite/0012_audit.sql"),
    },
    File {
        version: 13,
        name: "fleet keys",
        sql: include_str!("../../../migrations/sqlite/0013_fleet_keys.sql"),
    },
];

/// The same text for both databases.
const SEEDS: File = File {
    version: 2,
    name: "seeds",
    sql: include_str!("../../../migrations/shared/0002_seeds.sql"),
};

const MASK_PII_IN: File = File {
    version: 8,
    name: "mask pii in",
    sql: include_str!("../../../migrations/shared/0008_mask_pii_in.sql"),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The file names in these directories, in order.
    fn names_in(directories: [&str; 2]) -> Vec<String> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut names = Vec::new();
        for directory in directories {
            for entry in std::fs::read_dir(root.join(directory)).unwrap() {
                names.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
        names.sort();
        names
    }

    fn name_of(file: &File) -> String {
        format!("{:04}_{}.sql", file.version, file.name.replace(' ', "_"))
    }

    #[test]
    fn every_file_is_listed() {
        let postgres: Vec<String> = POSTGRES.iter().map(name_of).collect();
        let sqlite: Vec<String> = SQLITE.iter().map(name_of).collect();
        assert_eq!(postgres, names_in(["postgres", "shared"]));
        assert_eq!(sqlite, names_in(["sqlite", "shared"]));
    }

    #[test]
    fn both_databases_have_the_same_versions() {
        let postgres: Vec<String> = POSTGRES.iter().map(name_of).collect();
        let sqlite: Vec<String> = SQLITE.iter().map(name_of).collect();
        assert_eq!(postgres, sqlite);
    }
}
