//! The product from outside: the real binary between a client that shows every byte and upstreams that are scripted.
//!
//! Each file is one topic, each test one promise. `tests/testkit` builds the world; `tests/clients` does the same
//! with the official clients and real inference servers.

#[path = "../testkit/mod.rs"]
mod testkit;

mod access_log;
mod administration;
mod admission;
mod anthropic;
mod audit;
mod azure;
mod bodies;
mod break_glass;
mod budgets;
mod candidates;
mod capture;
mod commands;
mod control_planes;
mod costs;
mod crash;
mod crash_fleet;
mod deadlines;
mod doctor;
mod drift;
mod endings;
mod error_table;
mod errors;
mod evidence;
mod explanations;
mod failover;
mod failover_table;
mod fallbacks;
mod features;
mod guide;
mod health;
mod identity;
mod keys;
mod labels_of_claims;
mod leaving;
mod ledger;
mod ledger_postgres;
mod ledger_reload;
mod listeners;
mod models;
mod monitoring;
mod object_stores;
mod output_bounds;
mod passthrough;
mod policy_proofs;
mod policy_tools;
mod private_path;
mod redaction;
mod reload;
mod replay;
mod replicas;
mod residency;
mod responses;
mod restrictions;
mod rotation;
mod routing;
mod routing_live;
mod second_place;
mod sessions;
mod spending;
mod streaming;
mod support_bundle;
mod suppressions;
mod tls;
mod tokens_of_ours;
mod upgrade;
mod upstream_http2;
mod users;
mod waiting;
mod webhooks;
mod world;
