//! The gate: the only code that opens a socket on a guest's behalf.
