//! An HTTP server on a free loopback port that plays somebody else's.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running stand-in; it ends when this is dropped.
pub(super) struct StandIn {
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl StandIn {
    pub(super) async fn start(routes: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("no free loopback port for a stand-in")?;
        let address = listener.local_addr().context("a stand-in has no address")?;
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, serving })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
