//! Files that are something else: machine code, archives, modules, and one that is too large.

use cofferdam_host::{Engine, EngineSettings};

use super::{BadFile, Expected, Made};

/// A kibibyte of gzip that is a mebibyte of zeroes.
const BOMB: &[u8] = include_bytes!("../../hostile_egress/themes/bomb.gz");

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Header and trailer of a gzip member without a name, in bytes (RFC 1952).
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

pub(super) fn files(connector: &[u8]) -> anyhow::Result<Vec<BadFile>> {
    let native = native(connector)?;
    let no_wasm: &[_] = &["is not WebAssembly"];
    let precompiled: &[_] = &["is precompiled native code"];
    Ok(vec![
        BadFile::refused("precompiled", native.clone(), precompiled),
        BadFile::refused(
            "precompiled-cut",
            native[..native.len() / 2].to_vec(),
            &["native code", "is not WebAssembly"],
        ),
        BadFile::refused(
            "elf",
            [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 64]].concat(),
            precompiled,
        ),
        BadFile::refused("gzip-bomb", BOMB.to_vec(), no_wasm),
        BadFile::refused("zip-bomb", zip(BOMB), no_wasm),
        BadFile::refused("module", b"\0asm\x01\0\0\0".to_vec(), &["core WebAssembly module"]),
        BadFile::refused("text", b"(component)".to_vec(), no_wasm),
        BadFile::refused("script", b"#!/bin/sh\ntouch /tmp/it-ran\n".to_vec(), no_wasm),
        BadFile::refused("other-layer", b"\0asm\x0d\0\x02\0".to_vec(), no_wasm),
        BadFile::refused("other-version", b"\0asm\xff\xff\x01\0".to_vec(), &["does not compile"]),
        BadFile::new(
            "too-large",
            Made::Holes(FILE_BYTES_MAX + 1),
            Expected::Refused(&["is larger than 67108864 bytes"]),
        ),
        BadFile::new(
            "as-large-as-may-be",
            Made::Holes(FILE_BYTES_MAX),
            Expected::Refused(no_wasm),
        ),
        BadFile::new(
            "terabytes",
            Made::Holes(1 << 42),
            Expected::Refused(&["is larger than 67108864 bytes"]),
        ),
    ])
}

/// What the host's own engine makes of it: the very machine code that it would run.
fn native(connector: &[u8]) -> anyhow::Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let config = Engine::bare_config(&EngineSettings::new(dir.path().to_owned()));
    let engine = wasmtime::Engine::new(&config).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    engine
        .precompile_component(connector)
        .map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// The same deflated bytes in an archive: a local file header (APPNOTE.TXT 4.3.7) and what it announces.
fn zip(gzip: &[u8]) -> Vec<u8> {
    let deflated = &gzip[GZIP_HEADER..gzip.len() - GZIP_TRAILER];
    let name = b"connector.wasm";
    let mut bytes = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    for size in [deflated.len(), 1 << 30] {
        bytes.extend(
            u32::try_from(size)
                .expect("a bomb is small and promises a GiB")
                .to_le_bytes(),
        );
    }
    bytes.extend(u16::try_from(name.len()).expect("the name is short").to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(deflated);
    bytes
}
