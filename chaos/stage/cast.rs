//! The extensions of a stage.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use beamline_test_support::{ExtensionProcess, Nats};

use crate::puppet::Puppet;

#[derive(Debug)]
pub(crate) struct Cast {
    /// `normalize_text`, `pii_guard`, `mask_pii`, `spare`, and `model` with a number.
    processes: BTreeMap<String, ExtensionProcess>,
    /// The provider that nobody breaks.
    pub(crate) steady: Puppet,
}

impl Cast {
    /// Those of the traffic on one server, and the steady one on the server of everybody else.
    pub(super) async fn start(nats: &Nats, common: &Nats, models: usize) -> Self {
        let mut cast = Self {
            processes: BTreeMap::new(),
            steady: Puppet::provider(common.url(), "steady").await,
        };
        for id in ["normalize_text", "pii_guard", "mask_pii"] {
            cast.add(id, guardrail(nats, id).await);
        }
        cast.add("spare", provider(nats, "spare").await);
        for number in 1..=models {
            cast.add(&format!("model{number}"), provider(nats, "model").await);
        }
        cast
    }

    /// The one that had this place before, if there was one, ends.
    pub(crate) fn add(&mut self, id: &str, process: ExtensionProcess) {
        self.processes.insert(id.to_owned(), process);
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.processes.remove(id).expect("a process");
    }
}

impl Index<&str> for Cast {
    type Output = ExtensionProcess;

    fn index(&self, id: &str) -> &ExtensionProcess {
        &self.processes[id]
    }
}

impl IndexMut<&str> for Cast {
    fn index_mut(&mut self, id: &str) -> &mut ExtensionProcess {
        self.processes.get_mut(id).expect("a process")
    }
}

/// The reference program that serves this id.
pub(crate) async fn guardrail(nats: &Nats, id: &str) -> ExtensionProcess {
    let program = format!("beamline-{}", id.replace('_', "-"));
    ExtensionProcess::start(nats, &program, id, &[]).await
}

/// A provider process that takes a little time.
pub(crate) async fn provider(nats: &Nats, id: &str) -> ExtensionProcess {
    let flags = ["--id", id, "--latency-ms", "5"];
    ExtensionProcess::start(nats, "beamline-mock-provider", id, &flags).await
}
