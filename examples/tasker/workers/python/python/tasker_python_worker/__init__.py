"""The Python worker of Tasker: handlers in Python on a worker in Rust."""
