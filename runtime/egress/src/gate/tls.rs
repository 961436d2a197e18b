//! TLS towards an upstream: whom it trusts, and what the host shows of itself when the upstream asks.
//!
//! rustls with ring, TLS 1.2 and 1.3. Trusted is whom the platform trusts and, for that upstream only, the CAs that an admin
//! added. A client certificate comes from the vault; its private key is handed to the TLS library and to the scanner of
//! answers, and to nothing else. Neither wipes its copy; both are dropped with the channel that they were made for.

use std::fmt;
use std::sync::Arc;

use cofferdam_domain::UpstreamTls;
use cofferdam_vault::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::reflect::Patterns;
use crate::refusal::{Refusal, RefusalCode};

/// Most extra CA certificates of one upstream.
const CA_CERTIFICATES_MAX: usize = 32;

/// Most certificates of a client's chain.
const CHAIN_CERTIFICATES_MAX: usize = 16;

/// TLS sessions of one client that can be resumed.
const TLS_SESSIONS_MAX: usize = 8;

/// Shortest line of a private key that is searched for in answers, in bytes. A shorter one could be innocent text.
const KEY_LINE_BYTES_MIN: usize = 16;

/// What an admin wrote about an upstream's TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// Not PEM.
    #[error("ca cannot be read as PEM: {0}")]
    NotPem(String),
    /// No `CERTIFICATE` section.
    #[error("ca holds no certificate; it is the text between and with `-----BEGIN CERTIFICATE-----` and the END line")]
    NoCertificate,
    /// Too many.
    #[error("ca holds more than {CA_CERTIFICATES_MAX} certificates")]
    TooMany,
    /// The file of a private key was pasted.
    #[error("ca holds a private key, which must not be here; a client certificate and its key are a credential")]
    PrivateKey,
    /// PEM, but not X.509.
    #[error("ca holds as certificate {nth} what cannot be read as one: {problem}")]
    NotX509 {
        /// Counted from 1.
        nth: usize,
        /// Why.
        problem: Error,
    },
}

/// Checks what an admin wrote, before a connection is applied.
///
/// # Errors
/// When it could not be used.
pub fn check_tls(tls: &UpstreamTls) -> Result<(), BadTls> {
    tls.ca.as_deref().map_or(Ok(()), |pem| roots(pem).map(|_| ()))
}

fn roots(pem: &str) -> Result<RootCertStore, BadTls> {
    if pem.contains("PRIVATE KEY") {
        return Err(BadTls::PrivateKey);
    }
    let mut roots = RootCertStore::empty();
    for (at, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        if at == CA_CERTIFICATES_MAX {
            return Err(BadTls::TooMany);
        }
        let certificate = certificate.map_err(|error| BadTls::NotPem(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|problem| BadTls::NotX509 { nth: at + 1, problem })?;
    }
    if roots.is_empty() {
        return Err(BadTls::NoCertificate);
    }
    Ok(roots)
}

/// What every upstream's TLS is made from.
#[derive(Debug)]
pub(crate) struct TlsBase {
    provider: Arc<CryptoProvider>,
    platform: Option<Arc<dyn ServerCertVerifier>>,
}

impl TlsBase {
    /// Reads the platform's roots, once.
    pub(crate) fn new() -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let platform: Option<Arc<dyn ServerCertVerifier>> = match Verifier::new(provider.clone()) {
            Ok(verifier) => Some(Arc::new(verifier)),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no trusted certificates on this machine; every https upstream without a `ca` will be unreachable"
                );
                None
            }
        };
        let base = Self { provider, platform };
        // What cannot be set up for nobody in particular cannot be set up for anybody.
        let trust = Trust {
            extra: None,
            platform: base.platform.clone(),
            provider: base.provider.clone(),
        };
        base.client(trust, None)?;
        Ok(base)
    }

    /// Whom an upstream's TLS trusts.
    pub(crate) fn trust(&self, tls: &UpstreamTls) -> Result<Trust, BadTls> {
        let extra = match tls.ca.as_deref() {
            Some(pem) => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(pem)?), self.provider.clone())
                    .build()
                    .map_err(|_| BadTls::NoCertificate)?,
            ),
            None => None,
        };
        Ok(Trust {
            extra,
            platform: self.platform.clone().filter(|_| !tls.ca_only),
            provider: self.provider.clone(),
        })
    }

    /// A configuration of its own, sessions included.
    pub(crate) fn client(&self, trust: Trust, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
        let verified = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust));
        let mut config = match identity {
            Some(identity) => verified.with_client_cert_resolver(identity.shown.clone()),
            None => verified.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
        Ok(config)
    }
}

/// Accepts a certificate that the upstream's own CAs vouch for, and then one that the platform accepts.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    extra: Option<Arc<WebPkiServerVerifier>>,
    platform: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut problem = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let extra = self.extra.iter().map(|extra| extra.as_ref() as &dyn ServerCertVerifier);
        for verifier in extra.chain(self.platform.as_deref()) {
            match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                // What a CA that knows the certificate has against it says more than that another does not know it.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Tells one value of a client certificate from another: its SHA-256, which a version number would not be for a credential
/// that was removed and set anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose()).into())
    }
}

/// A client certificate with its private key.
pub(crate) struct Identity {
    pub fingerprint: Fingerprint,
    /// What must not come back.
    pub patterns: Arc<Patterns>,
    shown: Arc<SingleCertAndKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Identity")
    }
}

impl Identity {
    /// Reads a PEM chain, the client's own certificate first, and its private key, in any order.
    pub(crate) fn read(secret: &Secret) -> Result<Self, Refusal> {
        let pem = secret.expose();
        let chain = CertificateDer::pem_slice_iter(pem)
            .take(CHAIN_CERTIFICATES_MAX + 1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| unusable("is not PEM"))?;
        if chain.is_empty() {
            return Err(unusable("holds no certificate"));
        }
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(unusable("holds too many certificates"));
        }
        let mut key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| unusable("holds no private key that can be read (PKCS#8, PKCS#1 or SEC 1, not encrypted)"))?;
        let signing = any_supported_type(&key);
        key.zeroize();
        let signing = signing.map_err(|_| unusable("holds a private key of a kind that TLS here does not use"))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // A key that cannot tell its public half is left to the handshake.
            Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(unusable("holds a private key that is not the first certificate's"));
            }
            Err(_) => return Err(unusable("holds a certificate that cannot be read")),
        }
        let lines = key_lines(pem);
        let patterns = Patterns::new(lines.iter().map(|line| line.as_slice()))
            .map_err(|_| unusable("is too long to be searched for"))?;
        Ok(Self {
            fingerprint: Fingerprint::of(secret),
            patterns: Arc::new(patterns),
            shown: Arc::new(SingleCertAndKey::from(certified)),
        })
    }
}

fn unusable(problem: &str) -> Refusal {
    Refusal::new(
        RefusalCode::CredentialUnusable,
        format!("the client certificate {problem}; it is a PEM chain and its private key"),
    )
}

/// The lines of base64 inside every private key; all of them joined if each is short.
fn key_lines(pem: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in pem.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii();
        if line.starts_with(b"-----") {
            inside = line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----");
        } else if inside && !line.is_empty() {
            lines.push(Zeroizing::new(line.to_vec()));
        }
    }
    if lines.iter().all(|line| line.len() < KEY_LINE_BYTES_MIN) {
        let whole: Vec<&[u8]> = lines.iter().map(|line| line.as_slice()).collect();
        return vec![Zeroizing::new(whole.concat())];
    }
    lines.retain(|line| line.len() >= KEY_LINE_BYTES_MIN);
    lines
}

#[cfg(test)]
mod tests;
