//! The line that a request takes: every word of it is a file, and each hands on to the next.

use beamline_structure::graph::Imports;
use beamline_structure::workspace::repository;

use crate::circles::imports;

/// One arrow of the line, from a file and what is in the folder of its name to another.
#[derive(Debug, Clone, Copy)]
struct Hop {
    from: &'static str,
    to: &'static str,
    /// What both name where a port stands between them; `None`: the first names something of the
    /// second.
    port: Option<&'static str>,
}

/// The answer comes back the way that the call went, and the pipeline gives it to the responder.
const LINE: [Hop; 5] = [
    hop("src/edge/nats/intake.rs", "actors/src/door.rs"),
    hop("actors/src/door.rs", "actors/src/pipeline.rs"),
    hop("actors/src/pipeline.rs", "actors/src/call.rs"),
    Hop {
        from: "actors/src/call.rs",
        to: "src/edge/nats/transport.rs",
        port: Some("Call"),
    },
    hop("actors/src/pipeline.rs", "actors/src/responder.rs"),
];

const PORTS: &str = "actors/src/ports.rs";

const fn hop(from: &'static str, to: &'static str) -> Hop {
    Hop {
        from,
        to,
        port: None,
    }
}

impl Hop {
    fn hands_on(&self, imports: &Imports) -> bool {
        let Some(port) = self.port else {
            return imports.of_module(self.from, self.to).next().is_some();
        };
        [self.from, self.to]
            .into_iter()
            .all(|file| imports.of_module(file, PORTS).any(|name| name == port))
    }
}

#[test]
fn every_word_of_the_line_is_a_file() {
    for hop in LINE {
        for file in [hop.from, hop.to] {
            assert!(repository().join(file).is_file(), "{file}");
        }
    }
}

#[test]
fn each_word_of_the_line_hands_on_to_the_next() {
    let imports = imports();
    for hop in LINE {
        assert!(
            hop.hands_on(&imports),
            "{} does not hand on to {}",
            hop.from,
            hop.to
        );
    }
}

#[test]
fn a_hop_that_hands_on_is_told_from_one_that_does_not() {
    let imports = imports();
    assert!(hop("src/edge/nats/transport.rs", PORTS).hands_on(&imports));
    assert!(!hop(PORTS, "src/edge/nats/transport.rs").hands_on(&imports));
    let through = |port| Hop {
        from: "src/edge/nats/transport.rs",
        to: "src/edge/nats/transport.rs",
        port: Some(port),
    };
    assert!(through("Transport").hands_on(&imports));
    assert!(!through("SessionStore").hands_on(&imports));
}
