//! An upstream that speaks TLS, HTTP/1.1 and HTTP/2, with a CA of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A CA and what it signs.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for this name, and its key.
    pub(super) fn sign(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// What a client certificate's credential holds.
    pub(super) fn client_pem(&self, name: &str) -> String {
        let (certificate, key) = self.sign(name, |_| {});
        format!("{}{}", certificate.pem(), key.serialize_pem())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = RootCertStore::empty();
        let own = rustls::pki_types::CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(own).unwrap();
        Arc::new(roots)
    }
}

/// How an upstream behaves.
pub(super) struct Manner<'a> {
    pub(super) certificate: (rcgen::Certificate, KeyPair),
    pub(super) alpn: &'a [&'a [u8]],
    pub(super) versions: &'a [&'static SupportedProtocolVersion],
    /// Who must have signed a client's certificate; none asks for no certificate.
    pub(super) clients: Option<&'a Authority>,
    pub(super) body: String,
}

impl<'a> Manner<'a> {
    pub(super) fn of(certificate: (rcgen::Certificate, KeyPair)) -> Self {
        Self {
            certificate,
            alpn: &[b"h2", b"http/1.1"],
            versions: rustls::ALL_VERSIONS,
            clients: None,
            body: "hello".to_owned(),
        }
    }
}

/// What one TLS connection showed of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) server_name: Option<String>,
    pub(super) alpn: Option<Vec<u8>>,
    /// The client's own certificate, DER.
    pub(super) client: Option<Vec<u8>>,
}

/// Listens on loopback for as long as the test's runtime runs.
pub(super) struct Secure {
    pub(super) address: SocketAddr,
    connections: Arc<Mutex<Vec<Seen>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Secure {
    pub(super) async fn new(manner: Manner<'_>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(manner.versions)
            .unwrap();
        let builder = match manner.clients {
            Some(clients) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(clients.roots(), provider)
                    .build()
                    .unwrap(),
            ),
            None => builder.with_no_client_auth(),
        };
        let (certificate, key) = manner.certificate;
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = manner.alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let serving = Serving {
            acceptor,
            body: manner.body,
            connections: upstream.connections.clone(),
            requests: upstream.requests.clone(),
        };
        let serving = Arc::new(serving);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        upstream
    }

    /// Under a name that only the test's resolver knows.
    pub(super) fn url(&self, name: &str) -> String {
        format!("https://{name}:{}", self.address.port())
    }

    /// TLS connections so far, in order, once their handshake was done.
    pub(super) fn connections(&self) -> Vec<Seen> {
        self.connections.lock().unwrap().clone()
    }

    /// The requests so far: the head as text, over HTTP/2 made to look alike.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

struct Serving {
    acceptor: TlsAcceptor,
    body: String,
    connections: Arc<Mutex<Vec<Seen>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let stream = match self.acceptor.accept(stream).into_fallible().await {
            Ok(stream) => stream,
            Err((_, mut stream)) => {
                // Read to the end, or the reset would overtake the alert.
                let _ = stream.shutdown().await;
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                return;
            }
        };
        let (_, session) = stream.get_ref();
        let seen = Seen {
            server_name: session.server_name().map(str::to_owned),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            client: session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|own| own.to_vec()),
        };
        let is_h2 = seen.alpn.as_deref() == Some(b"h2");
        self.connections.lock().unwrap().push(seen);
        if is_h2 {
            self.serve_http_2(stream).await;
        } else {
            self.serve_http_1(stream).await;
        }
    }

    async fn serve_http_1(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut read = Vec::new();
        loop {
            while !read.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            self.note(String::from_utf8(std::mem::take(&mut read)).unwrap());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", self.body.len());
            stream.write_all((head + &self.body).as_bytes()).await.unwrap();
        }
    }

    async fn serve_http_2(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut text = format!("{} {} HTTP/2\r\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
            }
            self.note(text + "\r\n");
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(Bytes::from(self.body.clone()), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-trailer", "1".parse().unwrap());
            body.send_trailers(trailers).unwrap();
        }
    }

    fn note(&self, request: String) {
        self.requests.lock().unwrap().push(request);
    }
}
