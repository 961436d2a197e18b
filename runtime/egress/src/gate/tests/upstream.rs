//! An upstream that reads requests and answers whatever bytes a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How fast a dripping upstream drips.
const DRIP: Duration = Duration::from_millis(5);

/// Listens on loopback for as long as the test's runtime runs.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    connections: Arc<Mutex<usize>>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What happens after a request was read.
#[derive(Clone)]
pub(super) enum Then {
    /// These bytes, then the connection is closed.
    Answer(Vec<u8>),
    /// These bytes, and the connection stays open.
    Keep(Vec<u8>),
    /// Whatever is listed for the request's path; nothing, and the connection stays open, for any other.
    ByPath(Vec<(String, String)>),
    /// The first, then the second again and again with the connection open.
    Dripping(&'static str, &'static str),
    /// A head and then body bytes without end.
    Endless,
    /// Before any request: what a server of another protocol says first.
    Greeting,
    /// Nothing, and the connection stays open.
    Silence,
}

impl Upstream {
    pub(super) async fn answering(response: impl Into<Vec<u8>>) -> Self {
        Self::then(Then::Answer(response.into())).await
    }

    /// `200` with this body.
    pub(super) async fn saying(body: &str) -> Self {
        let length = body.len();
        Self::answering(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
        .await
    }

    /// An answer for each path.
    pub(super) async fn by_path(answers: &[(&str, String)]) -> Self {
        let answers = answers
            .iter()
            .map(|(path, answer)| ((*path).to_owned(), answer.clone()));
        Self::then(Then::ByPath(answers.collect())).await
    }

    pub(super) async fn then(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (upstream.connections.clone(), upstream.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(serve(stream, then.clone(), requests.clone()));
            }
        });
        upstream
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, head and body, as text.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn serve(mut stream: TcpStream, then: Then, requests: Arc<Mutex<Vec<String>>>) {
    if matches!(then, Then::Greeting) {
        let _ = stream.write_all(b"220 mail.test ESMTP\r\n").await;
        let _ = stream.shutdown().await;
    }
    let mut read = Vec::new();
    while !is_whole(&read) {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let request = String::from_utf8(read).unwrap();
    let path = request.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(request);
    match then {
        Then::Keep(bytes) => {
            let _ = stream.write_all(&bytes).await;
            std::future::pending::<()>().await;
        }
        Then::ByPath(answers) => {
            let Some((_, answer)) = answers.iter().find(|(listed, _)| *listed == path) else {
                return std::future::pending().await;
            };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Then::Dripping(first, again) => {
            let _ = stream.write_all(first.as_bytes()).await;
            let mut ticks = tokio::time::interval(DRIP);
            while stream.write_all(again.as_bytes()).await.is_ok() {
                ticks.tick().await;
            }
        }
        Then::Answer(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Then::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
        }
        Then::Greeting => {}
        Then::Silence => std::future::pending().await,
    }
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    body.len() >= length
}
