//! Tasker under one name, and the migrations of its database.
//!
//! The migrations are embedded here and nowhere else: whoever depends on this crate can bring a database up to date without any file.

pub use pgmq_notify;
pub use tasker_client as client;
pub use tasker_orchestration as orchestration;
pub use tasker_shared as shared;
pub use tasker_worker as worker;

pub mod migrations;

#[cfg(feature = "test-utils")]
pub mod test_helpers {
    //! What tests outside the workspace's crates may use.
    pub use tasker_shared::test_utils::{settings, source};
}
