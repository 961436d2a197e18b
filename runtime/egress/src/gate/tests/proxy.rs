//! What the environment says about proxies, which is nothing to the gate.

use std::process::Command;

use super::upstream::Upstream;
use super::*;

/// Set in the process that the test starts.
const CHILD: &str = "COFFERDAM_TEST_PROXY_CHILD";

#[tokio::test]
async fn no_proxy_of_the_environment_is_ever_used() {
    if std::env::var_os(CHILD).is_some() {
        let upstream = Upstream::saying("direct").await;
        let response = World::new(&upstream.url(), "bearer").send(get()).await.unwrap();
        assert_eq!(response.body, "direct");
        return;
    }
    // The variables are read when a client is made, so they are set from the start of a process of its own.
    let proxy = Upstream::saying("by way of the proxy").await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "gate::tests::proxy::no_proxy_of_the_environment_is_ever_used",
    ]);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(name, proxy.url());
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy").env(CHILD, "1");
    let output = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(proxy.connections(), 0);
}
