//! Takes tasks, hands out their steps, collects the results.
//!
//! The state of every task is in the database, and each message is archived in the transaction that it causes: a server may end at
//! any moment, and several may run side by side.

pub mod processor;
pub mod tasks;

#[cfg(feature = "web-api")]
pub mod app;
#[cfg(feature = "web-api")]
pub mod web;
