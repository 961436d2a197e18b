//! AWS Signature Version 4 in headers, by the library that AWS's own SDK signs with.
//!
//! Signed is what leaves: the method, the URL as it was rebuilt, the host, the body's hash, and every header but those that
//! the HTTP client adds later and `traceparent`, which what stands between is free to change. Copies of the key that the
//! library makes while it signs are not wiped.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use cofferdam_domain::Digest;
use http::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::{Needles, Outbound, put, unusable};
use crate::refusal::{Refusal, RefusalCode};

/// The headers that this slot writes, or that would be taken for its own.
pub(crate) const HEADERS: [&str; 4] = [
    "authorization",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
];

/// Query parameters that sign a request instead of headers. AWS refuses both at once; a guest that holds somebody else's
/// presigned URL is not to learn whether it would work.
pub(crate) const PARAMETERS: [&str; 7] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Services that sign a path as it is, encoded once, where all others normalise it and encode it twice.
const PATH_AS_IT_IS: [&str; 4] = ["s3", "s3-object-lambda", "s3-outposts", "s3express"];

/// Services that want the body's hash in a header besides.
/// <https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-clients.html>,
/// <https://docs.aws.amazon.com/amazonglacier/latest/dev/amazon-glacier-signing-requests.html>
const HASH_IN_HEADER: [&str; 2] = ["aoss", "glacier"];

/// What stands between us and the service may change these.
const NOT_SIGNED: [&str; 5] = [
    "authorization",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];

/// What is not encoded in a canonical path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Longest access key id, in bytes, as AWS has it.
const ACCESS_KEY_ID_BYTES_MAX: usize = 128;

/// Makes a request one that has a single canonical form, since the service computes its own from what arrives.
///
/// # Errors
/// When it has none, before any credential was read.
pub(super) fn fit(service: &str, headers: &HeaderMap, url: &mut Url) -> Result<(), Refusal> {
    if let Some((name, _)) = headers.iter().find(|(_, value)| value.to_str().is_err()) {
        return Err(Refusal::new(
            RefusalCode::BadHeader,
            format!("`{name}` is signed by AWS Signature Version 4 and must be visible ASCII: encode its value"),
        ));
    }
    if let Some(query) = url.query() {
        let bad = |problem: &str| Err(Refusal::new(RefusalCode::BadQuery, problem));
        if query.contains('+') {
            return bad(
                "`+` in a query that AWS Signature Version 4 signs is read in two ways: write `%20` for a space and `%2B` \
                 for a plus",
            );
        }
        if percent_decode_str(query).decode_utf8().is_err() {
            return bad("a query that AWS Signature Version 4 signs is UTF-8 once it is decoded");
        }
    }
    if PATH_AS_IT_IS.contains(&service) {
        let decoded: Vec<u8> = percent_decode_str(url.path()).collect();
        let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
        if slashes(&decoded) != slashes(url.path().as_bytes()) {
            return Err(Refusal::new(
                RefusalCode::BadPath,
                "S3 takes `%2F` in a key for `/`, and a signature of it would not hold: write `/`",
            ));
        }
        let canonical = percent_encode(&decoded, PATH).to_string();
        url.set_path(&canonical);
    }
    Ok(())
}

/// Signs for `region` and `service`.
pub(super) fn attach(
    region: &str,
    service: &str,
    secret: &[u8],
    outbound: &mut Outbound<'_>,
    needles: &mut Needles,
) -> Result<(), Refusal> {
    let keys = Keys::read(secret).ok_or_else(|| {
        unusable(
            "a credential for AWS Signature Version 4 is `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, with `:SESSION_TOKEN` if it is \
             temporary, or a JSON object with AccessKeyId, SecretAccessKey and SessionToken",
        )
    })?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(outbound.now.as_millis());
    needles.push(Zeroizing::new(keys.secret.as_bytes().to_vec()));
    if let Some(token) = &keys.token {
        needles.push(Zeroizing::new(token.as_bytes().to_vec()));
    }
    let key = v4::generate_signing_key(&keys.secret, time, region, service);
    needles.push(Zeroizing::new(key.as_ref().to_vec()));
    let signed = signed(&keys, time, (region, service), outbound)?;
    for (name, value) in &signed {
        put(outbound.headers, name.clone(), b"", value.as_bytes())?;
    }
    Ok(())
}

fn signed(
    keys: &Keys,
    time: SystemTime,
    (region, service): (&str, &str),
    outbound: &Outbound<'_>,
) -> Result<Vec<(HeaderName, Zeroizing<String>)>, Refusal> {
    let identity = Credentials::new(
        keys.id.as_str(),
        keys.secret.as_str(),
        keys.token.as_deref().cloned(),
        None,
        "cofferdam",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(settings(service))
        .build()
        .expect("every parameter is there")
        .into();
    // The body goes in by its hash: the library would print a body in a trace.
    let body = SignableBody::Precomputed(Digest::of(outbound.body).to_string());
    let headers = outbound
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let request = SignableRequest::new(outbound.method.as_str(), outbound.url.as_str(), headers, body);
    let (instructions, _) = request
        .and_then(|request| sign(request, &params))
        .map_err(|_| unusable("the credential cannot sign this request by AWS Signature Version 4"))?
        .into_parts();
    let (headers, _) = instructions.into_parts();
    Ok(headers
        .into_iter()
        .map(|header| {
            let value = Zeroizing::new(header.value().to_owned());
            (HeaderName::from_static(header.name()), value)
        })
        .collect())
}

fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.excluded_headers = Some(NOT_SIGNED.map(Cow::Borrowed).to_vec());
    if PATH_AS_IT_IS.contains(&service) {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    if PATH_AS_IT_IS.contains(&service) || HASH_IN_HEADER.contains(&service) {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings
}

/// A credential, taken apart.
struct Keys {
    id: String,
    secret: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
}

impl Keys {
    fn read(credential: &[u8]) -> Option<Self> {
        let keys = if credential.trim_ascii_start().starts_with(b"{") {
            Self::from_json(credential)?
        } else {
            Self::from_text(std::str::from_utf8(credential).ok()?)?
        };
        keys.are_usable().then_some(keys)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        Some(Self {
            id: parts.next()?.to_owned(),
            secret: Zeroizing::new(parts.next()?.to_owned()),
            token: parts.next().map(|token| Zeroizing::new(token.to_owned())),
        })
    }

    /// As `aws sts assume-role` and a credential process print it, or as the environment variables are called; other members
    /// (`Version`, `Expiration`) say nothing here.
    fn from_json(text: &[u8]) -> Option<Self> {
        let Ok(Value::Object(members)) = serde_json::from_slice(text) else {
            return None;
        };
        let mut keys = Self {
            id: String::new(),
            secret: Zeroizing::default(),
            token: None,
        };
        for (name, value) in members {
            let name = name.to_ascii_lowercase().replace('_', "");
            match (name.strip_prefix("aws").unwrap_or(&name), value) {
                ("accesskeyid", Value::String(id)) => keys.id = id,
                ("secretaccesskey", Value::String(secret)) => keys.secret = Zeroizing::new(secret),
                ("sessiontoken", Value::String(token)) => keys.token = Some(Zeroizing::new(token)),
                ("accesskeyid" | "secretaccesskey", _) => return None,
                _ => {}
            }
        }
        Some(keys)
    }

    /// What stands in a header must be able to, and the id must not be able to end its place in it.
    fn are_usable(&self) -> bool {
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        self.id.len() <= ACCESS_KEY_ID_BYTES_MAX
            && visible(&self.id)
            && !self.id.contains(['/', ',', '='])
            && visible(&self.secret)
            && self.token.as_ref().is_none_or(|token| visible(token))
    }
}

#[cfg(test)]
mod tests;
