//! A listener: HTTP/1.1 over TCP, with a bound on how many clients there are and on how slowly they may speak.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Most open connections of one listener; more wait to be accepted.
const CLIENTS_MAX: usize = 1024;

/// A client that takes longer to say what it wants is closed. It bounds an idle connection too.
const HEAD_READ_MAX: Duration = Duration::from_secs(15);

/// After the system could not accept, for want of file descriptors for example.
const ACCEPT_FAULT_WAIT: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then until the requests under way are answered.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &clients) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_FAULT_WAIT).await;
                continue;
            }
        };
        // Answers are small and awaited; waiting for more to fill a packet only adds latency.
        let _ = stream.set_nodelay(true);
        let router = router.clone().layer(axum::Extension(ConnectInfo(peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or speaks nonsense is its own trouble.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Cancel-safe: a permit that is not used is given back.
async fn accept(
    listener: &TcpListener,
    clients: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(clients)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}
