//! Ordered durable records, written in atomic batches.
