//! The whole router on a real NATS server and a real database. One module for each behaviour, all
//! in one program, because linking takes longer than testing. Needs nats-server on the PATH, a
//! PostgreSQL server (`BEAMLINE_TEST_POSTGRES_URL`), and the programs of the workspace (`cargo
//! build --workspace`); `make test` sees to all of it.

// The lints know test code by this attribute and not by its target.
#[cfg(test)]
mod administration;
#[cfg(test)]
mod api_guide;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod breakers;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod config_schemas;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod database_access;
#[cfg(test)]
mod database_outage;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod error_codes;
#[cfg(test)]
mod extension_changes;
#[cfg(test)]
mod faces;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod health;
#[cfg(test)]
mod load;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod nats_outage;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod policy_commands;
#[cfg(test)]
mod proxy_and_servers;
#[cfg(test)]
mod ready_and_drain;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod routing_chains;
#[cfg(test)]
mod routing_dry_run;
#[cfg(test)]
mod routing_fallbacks;
#[cfg(test)]
mod routing_policies;
#[cfg(test)]
mod routing_side_by_side;
#[cfg(test)]
mod routing_versions;
#[cfg(test)]
mod security;
#[cfg(test)]
mod start;
#[cfg(test)]
mod sticky;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod supervision;
#[cfg(test)]
mod up;
#[cfg(test)]
mod upstream_errors;
#[cfg(test)]
mod verdicts;
