//! Whose code is taken up: signatures by trusted keys (minisign), and digests that a name is pinned to.
//!
//! A signature lies beside its file as `FILE.wasm.minisig` and is checked over the bytes before anything else looks at them. One
//! that is there must be good: a file with a signature that does not verify, or by a key that is not trusted, stays out whether
//! signatures are required or not. Signatures of minisign's old form, which sign the file itself and not its hash, are refused.
//!
//! Keys and pins hold for as long as the process runs. What is kept of earlier versions is checked again by the same rule before
//! it is loaded, so a key that was taken out of the configuration runs nothing after the next start.

use std::collections::BTreeMap;

use cofferdam_domain::{ConnectorName, Digest};
use minisign_verify::{Error, PublicKey, Signature};

use crate::config::PluginsConfig;

/// Largest signature file, in bytes.
pub(super) const SIGNATURE_BYTES_MAX: u64 = 4096;

/// Behind the name of a file, that of its signature.
pub(super) const SIGNATURE_SUFFIX: &str = ".minisig";

/// Who is trusted, and which digests are.
pub(super) struct Trust {
    keys: Vec<(String, PublicKey)>,
    require: bool,
    pins: BTreeMap<ConnectorName, Digest>,
}

impl Trust {
    pub(super) fn new(config: &PluginsConfig) -> Self {
        let keys = config.trusted_keys.iter();
        Self {
            // The configuration was refused if one of them cannot be read.
            keys: keys
                .filter_map(|text| Some((text.clone(), PublicKey::from_base64(text).ok()?)))
                .collect(),
            require: config.require_signature,
            pins: config.pins.clone(),
        }
    }

    /// Whether signatures are looked at.
    pub(super) fn looks_at_signatures(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The key that has signed these bytes; none if they are not signed and need not be. The error is a sentence for the admin.
    pub(super) fn signer(&self, bytes: &[u8], signature: Option<&str>) -> Result<Option<String>, String> {
        let Some(signature) = signature.filter(|_| self.looks_at_signatures()) else {
            if self.require {
                return Err(format!(
                    "is not signed, and plugins.require_signature is set: put its signature beside it as FILE.wasm{SIGNATURE_SUFFIX}"
                ));
            }
            return Ok(None);
        };
        let unreadable =
            |error: Error| format!("has a signature that cannot be read ({error}); sign it again with minisign");
        let signature = Signature::decode(signature).map_err(unreadable)?;
        for (text, key) in &self.keys {
            match key.verify(bytes, &signature, false) {
                Ok(()) => return Ok(Some(text.clone())),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => {
                    return Err(
                        "has a signature of minisign's old form; sign it again with `minisign -S`, without -l"
                            .to_owned(),
                    );
                }
                Err(_) => return Err("has a signature that is not of these bytes".to_owned()),
            }
        }
        Err("is signed by a key that is not among plugins.trusted_keys".to_owned())
    }

    /// Whether this digest may be that of this name.
    pub(super) fn pinned(&self, name: &ConnectorName, digest: Digest) -> Result<(), String> {
        match self.pins.get(name) {
            Some(pin) if *pin != digest => Err(format!(
                "has the digest {digest}, and plugins.pins allows {name} only {pin}"
            )),
            Some(_) | None => Ok(()),
        }
    }
}
