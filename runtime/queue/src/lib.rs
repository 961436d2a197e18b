//! Events, deliveries, attempts and dead letters, kept over the store.
