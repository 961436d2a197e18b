//! The outside of one case: raw listeners on addresses of loopback, all under one port, so that what leads astray leads to a
//! socket that counts.
//!
//! The granted upstream is `127.0.0.2`. `127.0.0.3` is another server, which answers honestly. `127.0.0.1` and `::1` are
//! forbidden to every case: a connection there is a failure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::case::{Reply, Then};

/// Where the granted upstream listens.
const GRANTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Where the other server listens.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// How often another port is tried when one of the addresses has it in use.
const PORTS_TRIED_MAX: usize = 64;

/// What the other server says.
const HONEST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nelsewhere";

/// What stands for no end: far over every bound, and no more than a machine that takes all of it can hold.
const ENDLESS_BYTES: usize = 16 << 20;

/// Most of a request that is read.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// The listeners of one case.
pub(crate) struct Outside {
    port: u16,
    granted: Arc<Book>,
    elsewhere: Arc<Book>,
    forbidden: Arc<Book>,
    listeners: Vec<AbortHandle>,
}

/// What one listener saw.
#[derive(Default)]
struct Book {
    replies: Mutex<Vec<Reply>>,
    connections: AtomicUsize,
    requests: Mutex<Vec<Vec<u8>>>,
}

impl Book {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answer to the request that was just written down, and its number.
    fn reply(&self, request: Vec<u8>) -> (usize, Reply) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = requests.len();
        requests.push(request);
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = replies.get(nth).or(replies.last()).cloned();
        (nth, reply.unwrap_or_else(|| Reply::bytes(HONEST)))
    }

    fn greeting(&self) -> Option<Reply> {
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.first().filter(|reply| reply.then == Then::Greet).cloned()
    }
}

impl Outside {
    /// Listens. What is answered is said later, when the port is known.
    pub(crate) async fn listen() -> anyhow::Result<Self> {
        for _ in 0..PORTS_TRIED_MAX {
            let first = TcpListener::bind((GRANTED, 0))
                .await
                .context("loopback has no free port")?;
            let port = first.local_addr()?.port();
            // Somebody else may have the port on another address: then another port.
            if let Ok(mut bound) = beside(port).await {
                bound.push(first);
                return Ok(Self::over(port, bound));
            }
        }
        anyhow::bail!("no port is free on every address of loopback")
    }

    fn over(port: u16, bound: Vec<TcpListener>) -> Self {
        let mut outside = Self {
            port,
            granted: Arc::default(),
            elsewhere: Arc::default(),
            forbidden: Arc::default(),
            listeners: Vec::new(),
        };
        for listener in bound {
            let book = match listener.local_addr().map(|address| address.ip()) {
                Ok(ip) if ip == IpAddr::from(GRANTED) => &outside.granted,
                Ok(ip) if ip == IpAddr::from(ELSEWHERE) => &outside.elsewhere,
                _ => &outside.forbidden,
            };
            outside
                .listeners
                .push(tokio::spawn(accept(listener, Arc::clone(book))).abort_handle());
        }
        outside
    }

    /// The port of every listener.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How the granted upstream answers.
    pub(crate) fn answer(&self, replies: Vec<Reply>) {
        *self.granted.replies.lock().unwrap_or_else(PoisonError::into_inner) = replies;
    }

    /// Connections to the granted upstream.
    pub(crate) fn connections(&self) -> usize {
        self.granted.connections()
    }

    /// Requests to the granted upstream.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        self.granted.requests()
    }

    /// Connections to the other server.
    pub(crate) fn elsewhere(&self) -> usize {
        self.elsewhere.connections()
    }

    /// Requests to the other server.
    pub(crate) fn requests_elsewhere(&self) -> Vec<Vec<u8>> {
        self.elsewhere.requests()
    }

    /// Connections where nobody may go.
    pub(crate) fn forbidden(&self) -> usize {
        self.forbidden.connections()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.listeners.iter().for_each(AbortHandle::abort);
    }
}

/// The other addresses under one port.
async fn beside(port: u16) -> std::io::Result<Vec<TcpListener>> {
    let mut bound = vec![
        TcpListener::bind((ELSEWHERE, port)).await?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?,
    ];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(listener) => bound.push(listener),
        // A machine without IPv6 has no listener there, and nobody to be reached.
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {}
        Err(error) => return Err(error),
    }
    Ok(bound)
}

async fn accept(listener: TcpListener, book: Arc<Book>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _peer)) = listener.accept().await {
        book.connections.fetch_add(1, Ordering::SeqCst);
        // A peer that breaks off is what many cases are about.
        connections.spawn(serve(stream, Arc::clone(&book)));
    }
}

async fn serve(mut stream: TcpStream, book: Arc<Book>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(greeting) = book.greeting() {
        return answer(&mut stream, 0, &greeting).await.map(|_| ());
    }
    let mut read = Vec::new();
    loop {
        let Some(request) = next_request(&mut stream, &mut read).await? else {
            return Ok(());
        };
        let (nth, reply) = book.reply(request);
        if !answer(&mut stream, nth, &reply).await? {
            return Ok(());
        }
    }
}

/// Writes a reply, and says whether a further request may come.
async fn answer(stream: &mut TcpStream, nth: usize, reply: &Reply) -> std::io::Result<bool> {
    if reply.then == Then::Cut {
        for part in chunked(&reply.pieces[0], nth) {
            stream.write_all(&part).await?;
        }
        return Ok(true);
    }
    for piece in &reply.pieces {
        stream.write_all(piece).await?;
        tokio::task::yield_now().await;
    }
    match &reply.then {
        Then::Keep => return Ok(true),
        Then::Close | Then::Greet => stream.shutdown().await?,
        // Unread bytes or a zero linger make the system send RST instead of FIN.
        Then::Reset => stream.set_zero_linger()?,
        Then::Endless(bytes) => {
            for _ in 0..ENDLESS_BYTES / bytes.len() {
                stream.write_all(bytes).await?;
            }
            std::future::pending::<()>().await;
        }
        Then::Drip(bytes, pause_ms) => {
            for byte in bytes.iter().cycle() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            }
        }
        Then::Hold => std::future::pending().await,
        Then::Cut => {}
    }
    Ok(false)
}

/// The parts of an answer whose body is cut in two at `nth`.
fn chunked(body: &[u8], nth: usize) -> [Vec<u8>; 2] {
    let (first, second) = body.split_at(nth % (body.len() + 1));
    let chunk = |part: &[u8]| match part {
        [] => Vec::new(),
        part => [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat(),
    };
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    [
        [head, chunk(first).as_slice()].concat(),
        [chunk(second).as_slice(), b"0\r\n\r\n"].concat(),
    ]
}

/// The next whole request of a connection; none at its end.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = end_of_request(read) {
            let rest = read.split_off(end);
            return Ok(Some(std::mem::replace(read, rest)));
        }
        if read.len() > REQUEST_BYTES_MAX || stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

fn end_of_request(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = head + length.map_or(Ok(0), str::parse).unwrap_or(0);
    (read.len() >= end).then_some(end)
}
