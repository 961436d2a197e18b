//! Sealed credentials and their lifecycle.
