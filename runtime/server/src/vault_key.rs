//! Where the vault's key is looked for, the same for every command that opens a vault.
//!
//! The first of these that there is: the environment variable [`VAULT_KEY_VARIABLE`]; the file that the configuration names;
//! the credential [`VAULT_KEY_CREDENTIAL`] that systemd hands to the service; `vault.key` in the data folder.

use std::path::{Path, PathBuf};

use cofferdam_vault::KeySource;
use secrecy::{ExposeSecret, SecretString};

/// The vault's key may come from here, so that it never lies on the disk that it protects.
pub const VAULT_KEY_VARIABLE: &str = "COFFERDAM_VAULT_KEY";

/// The id of the credential, as in `LoadCredential=cofferdam-vault-key:/path` (systemd.exec(5)).
pub const VAULT_KEY_CREDENTIAL: &str = "cofferdam-vault-key";

/// The key file that the first start makes in the data folder, where no other place is named.
const KEY_FILE: &str = "vault.key";

/// The places, in their order.
#[derive(Clone, Debug)]
pub struct KeyPlaces<'a> {
    /// The value of [`VAULT_KEY_VARIABLE`].
    pub variable: Option<&'a SecretString>,
    /// `vault.key_file` of the configuration.
    pub file: Option<&'a Path>,
    /// `$CREDENTIALS_DIRECTORY`.
    pub credentials_dir: Option<&'a Path>,
    /// The data folder.
    pub data: &'a Path,
}

/// Where the key is.
pub struct KeyFound {
    /// To load it from.
    pub source: KeySource,
    /// For people.
    pub origin: String,
    /// The file in the data folder, if no other place is named: a new vault gets it.
    pub default_file: Option<PathBuf>,
}

impl KeyPlaces<'_> {
    /// The first place that there is. A file that is named and is not there is an error once it is read, and not passed over.
    pub fn find(&self) -> KeyFound {
        if let Some(text) = self.variable {
            return KeyFound {
                source: KeySource::Env(text.expose_secret().to_owned()),
                origin: VAULT_KEY_VARIABLE.to_owned(),
                default_file: None,
            };
        }
        let named = self.file.map(|path| KeySource::File(path.to_owned()));
        // systemd sets the directory for any credential of the service, so this one may not be there.
        let credential = || {
            let path = self.credentials_dir?.join(VAULT_KEY_CREDENTIAL);
            path.exists().then_some(KeySource::Credential(path))
        };
        if let Some(source) = named.or_else(credential) {
            return KeyFound {
                origin: source.to_string(),
                source,
                default_file: None,
            };
        }
        let path = self.data.join(KEY_FILE);
        let source = KeySource::File(path.clone());
        KeyFound {
            origin: source.to_string(),
            source,
            default_file: Some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_there_is_wins_and_a_named_file_is_never_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (with, without) = (dir.path().join("with"), dir.path().join("without"));
        std::fs::create_dir(&with).unwrap();
        std::fs::write(with.join(VAULT_KEY_CREDENTIAL), "key").unwrap();
        let (variable, file) = (SecretString::from("a2V5"), Path::new("/named/and/not/there"));
        let check =
            |variable: Option<&SecretString>, file: Option<&Path>, credentials_dir: Option<&Path>, expected: &str| {
                let places = KeyPlaces {
                    variable,
                    file,
                    credentials_dir,
                    data: Path::new("/data"),
                };
                let found = places.find();
                assert!(found.origin.ends_with(expected), "{} is not {expected}", found.origin);
                assert_eq!(found.default_file.is_some(), expected == "/data/vault.key");
            };
        check(Some(&variable), Some(file), Some(&with), VAULT_KEY_VARIABLE);
        check(None, Some(file), Some(&with), "/named/and/not/there");
        check(None, None, Some(&with), "with/cofferdam-vault-key");
        check(None, None, Some(&without), "/data/vault.key");
        check(None, None, None, "/data/vault.key");
    }
}
