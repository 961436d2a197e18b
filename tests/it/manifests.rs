//! The walls between crates, held by their manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The direct dependencies of every member of the workspace, tests aside.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root.join("runtime")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        found.insert(
            name,
            manifest["dependencies"].as_table().unwrap().keys().cloned().collect(),
        );
    }
    assert_eq!(found.len(), 8, "the house has eight rooms");
    found
}

#[test]
fn each_dangerous_dependency_has_one_home() {
    for (dependency, homes) in [
        ("wasmtime", &["cofferdam-host"][..]),
        ("wasmtime-wasi", &["cofferdam-host"]),
        ("wasmtime-wasi-http", &["cofferdam-host"]),
        ("sled", &["cofferdam-store"]),
        ("redb", &["cofferdam-store"]),
        ("axum", &["cofferdam", "cofferdam-server"]),
        // The command line speaks to the admin API; on a guest's behalf only the gate does.
        ("reqwest", &["cofferdam", "cofferdam-egress"]),
        ("chacha20poly1305", &["cofferdam-vault"]),
    ] {
        let all = dependencies();
        let users: Vec<_> = all
            .iter()
            .filter(|(_, needs)| needs.iter().any(|need| need == dependency))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(users, homes, "{dependency}");
    }
}

#[test]
fn the_domain_does_no_io() {
    let needs = &dependencies()["cofferdam-domain"];
    for forbidden in ["tokio", "tracing", "reqwest", "sled", "axum", "wasmtime"] {
        assert!(!needs.iter().any(|need| need == forbidden), "{forbidden}");
    }
}
