//! The router held to figures: an hour of a public trace, played in virtual time by the code that decides.
//!
//! The figures are ratios to what the best fixed rule, a router that knows everything, and a bound that knows the future
//! need for the same trace. The seeds are fixed, so a run gives the same numbers every time. All of it runs by default:
//! the whole suite takes seconds.

mod baselines;
mod progress;
mod robustness;
mod targets;
mod world;
