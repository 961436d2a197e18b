//! The vault key: 32 random bytes that the process is given and never stores.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use rand::TryRng as _;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

/// Size of the key, in bytes.
pub(crate) const KEY_BYTES: usize = 32;

/// Longest key text that is read, in bytes: hex, and some white space around it.
const KEY_TEXT_BYTES_MAX: usize = 256;

/// Read, write and execute for group and others.
const MODE_OF_OTHERS: u32 = 0o077;

/// As [`MODE_OF_OTHERS`], but for reading by the group: systemd gives the service's user access by an access list, whose mask
/// is what the group's bits show then (acl(5), `write_credential` of systemd).
const MODE_OF_OTHERS_BUT_THE_MASK: u32 = 0o037;

/// The key that seals every credential's own key. Wiped when dropped.
pub struct VaultKey(SecretBox<[u8; KEY_BYTES]>);

/// Where the key is given.
#[derive(Clone)]
pub enum KeySource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// A file of the service's own credentials directory, made by systemd (systemd.exec(5), `LoadCredential=`).
    Credential(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// Where it comes from, for people.
impl fmt::Display for KeySource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "vault key file {}", path.display()),
            Self::Credential(path) => write!(out, "vault key credential {}", path.display()),
            Self::Env(_) => out.write_str("the environment variable"),
        }
    }
}

/// Why there is no key. Each text is one line that says what to do; none holds any of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("vault key file {} cannot be read: correct its path, or put 32 random bytes in base64 there, mode 0600", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Others can get at the file.
    #[error("vault key file {} is open to others (mode {mode:04o}): run `chmod 600` on it", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path is a directory, a device or a pipe.
    #[error("vault key file {} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The text is no key.
    #[error("{origin} holds no vault key: it must be {KEY_BYTES} random bytes in base64 or hex and nothing else")]
    Malformed {
        /// Where the text came from.
        origin: String,
    },
    /// The file is there already, or cannot be made.
    #[error("vault key file {} cannot be created; one that exists is never overwritten", path.display())]
    NotCreated {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl VaultKey {
    /// Reads the key.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or the text is not 32 bytes in base64 or hex.
    pub fn load(source: KeySource) -> Result<Self, KeyError> {
        let origin = source.to_string();
        let text = match source {
            KeySource::Env(text) => Zeroizing::new(text),
            KeySource::File(path) => read(&path, MODE_OF_OTHERS)?,
            KeySource::Credential(path) => read(&path, MODE_OF_OTHERS_BUT_THE_MASK)?,
        };
        Self::parse(&text, || origin)
    }

    /// Writes a new random key to a new file, durable and readable by its owner only.
    ///
    /// # Errors
    /// When the file exists or cannot be written, or there is no randomness.
    pub fn create_file(path: &Path) -> Result<Self, KeyError> {
        let mut key = SecretBox::new(Box::new([0; KEY_BYTES]));
        fill_random(secrecy::ExposeSecretMut::expose_secret_mut(&mut key))?;
        let text = Zeroizing::new(BASE64.encode(key.expose_secret()) + "\n");
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let dir = path
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            File::open(dir)?.sync_all()
        };
        write().map_err(|source| KeyError::NotCreated {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(key))
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }

    fn parse(text: &str, origin: impl FnOnce() -> String) -> Result<Self, KeyError> {
        let text = text.trim().as_bytes();
        // The lengths of the forms differ, so no text is two keys.
        let decoded = [
            &HEXLOWER_PERMISSIVE,
            &BASE64,
            &BASE64_NOPAD,
            &BASE64URL,
            &BASE64URL_NOPAD,
        ]
        .into_iter()
        .filter_map(|form| form.decode(text).ok().map(Zeroizing::new))
        .find_map(|bytes| <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new));
        match decoded {
            Some(bytes) => Ok(Self(SecretBox::new(Box::new(*bytes)))),
            None => Err(KeyError::Malformed { origin: origin() }),
        }
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("VaultKey")
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "File({})", path.display()),
            Self::Credential(path) => write!(out, "Credential({})", path.display()),
            Self::Env(_) => out.write_str("Env"),
        }
    }
}

/// Fills from the operating system's generator.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), KeyError> {
    SysRng.try_fill_bytes(bytes).map_err(|_| KeyError::NoRandomness)
}

/// Checks what was opened, not what the path names by then.
fn read(path: &Path, mode_of_others: u32) -> Result<Zeroizing<String>, KeyError> {
    let unreadable = |source| KeyError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    if about.mode() & mode_of_others != 0 {
        return Err(KeyError::OpenToOthers {
            path: path.to_owned(),
            mode: about.mode() & 0o7777,
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_TEXT_BYTES_MAX));
    file.take(KEY_TEXT_BYTES_MAX as u64)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn bytes_of(text: &str) -> Option<[u8; KEY_BYTES]> {
        VaultKey::load(KeySource::Env(text.to_owned()))
            .ok()
            .map(|key| *key.expose())
    }

    #[test]
    fn a_key_is_read_from_base64_and_hex() {
        let key = [0xfb; KEY_BYTES];
        for text in [
            HEXLOWER_PERMISSIVE.encode(&key),
            HEXLOWER_PERMISSIVE.encode(&key).to_uppercase(),
            BASE64.encode(&key),
            BASE64_NOPAD.encode(&key),
            BASE64URL.encode(&key),
            format!("  {}\n", BASE64URL_NOPAD.encode(&key)),
        ] {
            assert_eq!(bytes_of(&text), Some(key), "{text}");
        }
        let short = BASE64.encode(&key[1..]);
        for text in ["", "key", &short, &"0".repeat(63), &"0".repeat(65)] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_file_that_others_can_open_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.key");
        let created = *VaultKey::create_file(&path).unwrap().expose();
        let check = |mode: u32, good: bool| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match VaultKey::load(KeySource::File(path.clone())) {
                Ok(key) => assert!(good && *key.expose() == created, "{mode:o}"),
                Err(error) => {
                    assert!(!good, "{mode:o}: {error}");
                    let text = error.to_string();
                    assert!(text.contains("chmod 600") && !text.contains('\n'), "{text}");
                }
            }
        };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        check(0o600, true);
        check(0o400, true);
        check(0o640, false);
        check(0o604, false);
        check(0o610, false);
    }

    #[test]
    fn a_credential_of_systemd_shows_its_mask_where_the_group_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cofferdam-vault-key");
        VaultKey::create_file(&path).unwrap();
        for (mode, as_credential, as_file) in [
            (0o400, true, true),
            (0o440, true, false),
            (0o404, false, false),
            (0o460, false, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                VaultKey::load(KeySource::Credential(path.clone())).is_ok(),
                as_credential,
                "{mode:o}"
            );
            assert_eq!(
                VaultKey::load(KeySource::File(path.clone())).is_ok(),
                as_file,
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.key");
        VaultKey::create_file(&path).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(matches!(VaultKey::create_file(&path), Err(KeyError::NotCreated { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn debug_prints_nothing_of_a_key() {
        let text = "00".repeat(KEY_BYTES);
        let source = KeySource::Env(text.clone());
        assert_eq!(format!("{source:?}"), "Env");
        assert_eq!(format!("{:?}", VaultKey::load(source).unwrap()), "VaultKey");
        let error = VaultKey::load(KeySource::Env(text + "1")).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("000"), "{error:?}");
    }
}
