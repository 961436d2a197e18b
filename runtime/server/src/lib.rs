//! Ingest, dispatch, admin API, panel, telemetry and the composition root.
