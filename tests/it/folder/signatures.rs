//! Signatures and pins: whose code is taken up at all.

use std::fs;
use std::path::Path;

use cofferdam_domain::Digest;
use cofferdam_server::admin::Why;
use cofferdam_server::admin::views::Health;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::minisign::Signer;
use cofferdam_tests::{Answer, Setup, Upstream, wait};

use super::{folder_is, put, reason, runs, variant};
use crate::connections::probe;

fn trusting(signers: &[&Signer], require: bool) -> Setup {
    let keys: Vec<_> = signers
        .iter()
        .map(|signer| format!("\"{}\"", signer.public_key()))
        .collect();
    Setup::new().config(&format!(
        "\n[plugins]\nsettle_ms = 20\nscan_every_ms = 200\ntrusted_keys = [{}]\nrequire_signature = {require}\n",
        keys.join(", ")
    ))
}

fn sign(plugins: &Path, name: &str, signature: &str) {
    fs::write(plugins.join(format!("{name}.minisig")), signature).unwrap();
}

#[tokio::test]
async fn only_what_a_trusted_key_has_signed_is_loaded_and_nothing_else_is_even_compiled() {
    let (ours, theirs) = (Signer::new(1), Signer::new(2));
    let server = trusting(&[&ours], true).start().await;
    let plugins = server.setup().plugins();
    let bytes = fs::read(test_guest("probe")).unwrap();
    put(&server, "probe.wasm", &bytes);
    let said = |says: &'static str| {
        let server = &server;
        async move {
            let what = format!("the file to be refused: {says}");
            let view = folder_is(server, &what, |view| {
                reason(view, "probe.wasm").is_some_and(|reason| reason.contains(says))
            })
            .await;
            assert!(view.connectors.is_empty());
        }
    };
    said("is not signed").await;
    sign(&plugins, "probe.wasm", "no signature at all");
    said("cannot be read").await;
    sign(&plugins, "probe.wasm", &theirs.sign(&bytes));
    said("not among plugins.trusted_keys").await;
    sign(&plugins, "probe.wasm", &ours.sign(b"other bytes"));
    said("not of these bytes").await;
    sign(&plugins, "probe.wasm", &ours.sign_legacy(&bytes));
    said("old form").await;
    sign(&plugins, "probe.wasm", &"x".repeat(5_000));
    said("larger than 4096 bytes").await;
    assert_eq!(fs::read_dir(server.setup().data().join("compiled")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(server.setup().data().join("versions")).unwrap().count(), 0);
    sign(&plugins, "probe.wasm", &ours.sign(&bytes));
    folder_is(&server, "the signed file", |view| {
        view.connectors.len() == 1 && view.problems.is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_update_by_another_key_waits_and_a_key_that_is_not_trusted_any_more_runs_nothing() {
    let (ours, theirs) = (Signer::new(1), Signer::new(2));
    let target = Upstream::start([], Answer::status(200)).await;
    let server = trusting(&[&ours, &theirs], false).start().await;
    let plugins = server.setup().plugins();
    let first = fs::read(test_guest("probe")).unwrap();
    sign(&plugins, "probe.wasm", &ours.sign(&first));
    put(&server, "probe.wasm", &first);
    folder_is(&server, "the signed file", |view| view.connectors.len() == 1).await;
    server.api.apply(&probe("p", &target, "")).await;
    let [second, third, fourth] = ["second", "third", "fourth"].map(|tag| variant(&test_guest("probe"), tag));
    sign(&plugins, "probe.wasm", &ours.sign(&second));
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    for (bytes, signature) in [(&third, Some(theirs.sign(&third))), (&fourth, None)] {
        match signature {
            Some(signature) => sign(&plugins, "probe.wasm", &signature),
            None => fs::remove_file(plugins.join("probe.wasm.minisig")).unwrap(),
        }
        put(&server, "probe.wasm", bytes);
        let waiting = wait::until("the other signer's version", || async {
            let runs = server.api.connection("p").await.runs;
            runs.waiting.filter(|waiting| waiting.digest == Digest::of(bytes))
        })
        .await;
        assert_eq!(waiting.why, Why::OtherSigner);
        assert_eq!(server.api.connection("p").await.runs.digest, Some(Digest::of(&second)));
    }
    let (_, _, setup) = server.stop().await;
    let ours = format!("\"{}\", ", ours.public_key());
    let server = setup
        .instead_of(&ours, "")
        .instead_of("require_signature = false", "require_signature = true")
        .start()
        .await;
    // Neither what its key signed nor what nobody signed.
    wait::until("nothing to run", || async {
        let view = server.api.connection("p").await;
        (view.runs.digest.is_none() && view.health == Health::Changed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_pinned_has_one_digest() {
    let first = fs::read(test_guest("probe")).unwrap();
    let setup = Setup::new().config(&format!(
        "\n[plugins]\nsettle_ms = 20\n[plugins.pins]\nprobe = \"sha256:{}\"\n",
        Digest::of(&first)
    ));
    let server = setup.start().await;
    put(&server, "probe.wasm", &variant(&test_guest("probe"), "second"));
    let view = folder_is(&server, "the other digest", |view| reason(view, "probe.wasm").is_some()).await;
    assert!(reason(&view, "probe.wasm").unwrap().contains("plugins.pins"));
    assert!(view.connectors.is_empty());
    put(&server, "probe.wasm", &first);
    folder_is(&server, "the pinned digest", |view| view.connectors.len() == 1).await;
}
