//! Signed requests, from a guest to a stand-in that checks them as the other side would.

use std::process::Stdio;

use cofferdam_domain::{DeliveryState, Digest, FailureClass};
use cofferdam_server::admin::views::Health;
use cofferdam_tests::upstream::Asked;
use cofferdam_tests::{Answer, Running, Upstream, artifacts, sign, wait};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::connections::probe_server;

/// A connection of the probe whose credential goes to the stand-in as `upstream` says, in TOML.
fn file(name: &str, stand_in: &Upstream, upstream: &str) -> String {
    format!(
        "name = \"{name}\"\nconnector = \"probe\"\nsubscribe = [\"test.{name}\"]\n[upstreams.target]\nbase_url = \"{}\"\n\
         credential = \"key\"\nnetworks = [\"127.0.0.0/8\"]\n{upstream}\n",
        stand_in.url()
    )
}

async fn deliver(server: &Running, connection: &str, id: &str, call: Value) {
    let accepted = server.api.send_event(id, &format!("test.{connection}"), call).await;
    server
        .api
        .wait_delivered(accepted.accepted[0].correlation_id.as_str())
        .await;
}

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What botocore needs to sign the request that arrived: the headers that are said to be signed, and nothing else.
fn as_botocore_asks(asked: &Asked, stand_in: &Upstream, scope: (&str, &str), token: Option<&str>) -> Value {
    let authorization = asked.header("authorization");
    let (_, signed) = authorization.split_once("SignedHeaders=").unwrap();
    let (signed, _) = signed.split_once(", Signature=").unwrap();
    let headers: Vec<_> = signed
        .split(';')
        .map(|name| json!([name, asked.header(name)]))
        .collect();
    json!({
        "id": ACCESS_KEY, "secret": SECRET_KEY, "token": token, "region": scope.0, "service": scope.1,
        "method": asked.method.as_str(), "url": format!("{}{}", stand_in.url(), asked.uri), "headers": headers,
        "body": String::from_utf8(asked.body.to_vec()).unwrap(), "date": asked.header("x-amz-date"),
    })
}

async fn signed_by_botocore(asked: &[Value]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/signing/verify_aws.py");
    let mut python = Command::new(artifacts::botocore_python());
    python
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut python = python.spawn().unwrap();
    let lines: Vec<_> = asked.iter().map(|asked| format!("{asked}\n")).collect();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(lines.concat().as_bytes()).await.unwrap();
    drop(stdin);
    let output = python.wait_with_output().await.unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_leaves_for_aws_is_signed_as_awss_own_python_library_signs_it() {
    let stand_in = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let token = "AQoDYXdzEPT//////////wEXAMPLE/token+==";
    let cases = [
        (
            "sqs",
            "aws-sigv4 eu-central-1 sqs",
            None,
            vec![
                json!({"do": "call"}),
                json!({
                    "do": "call", "method": "POST", "path": "/queue/a:b(c)", "body": "Action=SendMessage&MessageBody=hi",
                    "headers": [["content-type", "application/x-www-form-urlencoded"], ["X-Amz-Target", "  a   b "]],
                }),
                json!({"do": "call", "path": "/%E1%88%B4/a%2Fb", "query": "b=2&a=1&a=0&c&d=%20%2B~"}),
            ],
        ),
        (
            "store",
            "aws-sigv4 us-gov-west-1 s3",
            Some(token),
            vec![
                json!({"do": "call", "path": "/bucket/key with no spaces".replace(' ', "%20"), "query": "acl"}),
                json!({"do": "call", "method": "PUT", "path": "/bucket/a=b,c:(d)*'!$/%41%e1%88%b4", "body": "body ü"}),
                json!({"do": "call", "path": "/bucket", "query": "list-type=2&prefix=a%2Fb&max-keys=2"}),
            ],
        ),
    ];
    let mut expected = Vec::new();
    let mut asked_botocore = Vec::new();
    for (name, slot, token, calls) in cases {
        server
            .api
            .apply(&file(name, &stand_in, &format!("attach = \"{slot}\"")))
            .await;
        let credential = match token {
            Some(token) => {
                json!({"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "SessionToken": token}).to_string()
            }
            None => format!("{ACCESS_KEY}:{SECRET_KEY}"),
        };
        server.api.set_secret(name, "key", &credential).await;
        let (_, scope) = slot.split_once(' ').unwrap();
        let scope = scope.split_once(' ').unwrap();
        for (nth, call) in calls.into_iter().enumerate() {
            let before = stand_in.asked().len();
            deliver(&server, name, &format!("{name}-{nth}"), call).await;
            let asked = stand_in.asked()[before].clone();
            assert_eq!(asked.header("x-amz-security-token"), token.unwrap_or_default());
            let hash = if scope.1 == "s3" {
                Digest::of(&asked.body).to_string()
            } else {
                String::new()
            };
            assert_eq!(asked.header("x-amz-content-sha256"), hash);
            let (_, signature) = asked.header("authorization").split_once(", Signature=").unwrap();
            expected.push(signature.to_owned());
            asked_botocore.push(as_botocore_asks(&asked, &stand_in, scope, token));
        }
    }
    let signatures = signed_by_botocore(&asked_botocore).await;
    for ((signature, expected), asked) in signatures.iter().zip(&expected).zip(&asked_botocore) {
        assert_eq!(signature, expected, "{asked}");
    }
    assert_eq!((signatures.len(), expected.len()), (6, 6));
    for text in [SECRET_KEY, token] {
        assert!(!server.log().contains(text), "the log holds a secret");
    }
}

#[tokio::test]
async fn a_request_is_signed_as_the_admins_template_says() {
    let stand_in = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let signature = "attach = \"hmac\"\n[upstreams.target.signature]\nheader = \"X-Signature\"\nprefix = \"v0=\"\n\
                     template = \"{method} {url} {timestamp} {id} {body}\"\ntimestamp_header = \"X-Time\"\nid_header = \"X-Id\"";
    server.api.apply(&file("p", &stand_in, signature)).await;
    server.api.set_secret("p", "key", "the key").await;
    let call = json!({"do": "call", "method": "POST", "path": "/x", "query": "a=1", "body": "hello"});
    deliver(&server, "p", "1", call).await;
    let asked = stand_in.asked().pop().unwrap();
    let (time, id) = (asked.header("x-time"), asked.header("x-id"));
    assert!(time.parse::<u64>().is_ok() && !id.is_empty());
    let covered = format!("POST {}/x?a=1 {time} {id} hello", stand_in.url());
    let expected = sign::github("the key", covered.as_bytes()).replace("sha256=", "v0=");
    assert_eq!(asked.header("x-signature"), expected);

    // A guest that writes into a header of the signature is refused, whichever it is.
    for (nth, header) in ["x-signature", "X_Time", "X-ID"].into_iter().enumerate() {
        let call = json!({"do": "call", "headers": [[header, "mine"]]});
        let accepted = server.api.send_event(&format!("taken-{nth}"), "test.p", call).await;
        let dead = server.api.wait_dead(accepted.accepted[0].correlation_id.as_str()).await;
        let failure = dead.attempts[0].ended.as_ref().unwrap().failure.clone().unwrap();
        assert_eq!(failure.class, FailureClass::Policy);
        assert!(failure.code.unwrap().starts_with("credential-slot-taken"), "{header}");
    }
    assert_eq!(stand_in.asked().len(), 1);
}

#[tokio::test]
async fn a_credential_of_another_shape_parks_the_lane_and_says_what_is_expected_and_not_what_is_there() {
    let stand_in = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server
        .api
        .apply(&file("p", &stand_in, "attach = \"aws-sigv4 eu-central-1 s3\""))
        .await;
    server.api.set_secret("p", "key", "only-one-part-k3y").await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let view = wait::until("the parked lane", || async {
        let view = server.api.connection("p").await;
        (view.health == Health::Parked).then_some(view)
    })
    .await;
    let reason = view.reason.unwrap();
    assert!(reason.contains("ACCESS_KEY_ID:SECRET_ACCESS_KEY"), "{reason}");
    let trace = server.api.trace(&correlation).await;
    let shown = format!("{reason}{}{}", serde_json::to_string(&trace).unwrap(), server.log());
    assert!(!shown.contains("k3y"), "the credential is repeated");
    assert!(matches!(
        trace.events[0].deliveries[0].delivery.state,
        DeliveryState::Pending { .. }
    ));
    server
        .api
        .set_secret("p", "key", &format!("{ACCESS_KEY}:{SECRET_KEY}"))
        .await;
    server.api.wait_delivered(&correlation).await;
}

#[tokio::test]
async fn a_signature_without_its_slot_or_a_slot_without_its_signature_is_not_applied() {
    let stand_in = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    for (upstream, said) in [
        ("attach = \"hmac\"", "signature"),
        (
            "[upstreams.target.signature]\nheader = \"x-sig\"",
            "attached as `bearer`",
        ),
        (
            "attach = \"bearer\"\n[upstreams.target.signature]\nheader = \"x-sig\"",
            "unless attach is",
        ),
        (
            "attach = \"hmac\"\n[upstreams.target.signature]\nheader = \"host\"",
            "frames or routes",
        ),
        (
            "attach = \"hmac\"\n[upstreams.target.signature]\nheader = \"x\"\ntemplate = \"{id}{body}\"",
            "id_header",
        ),
        ("attach = \"aws-sigv4 eu-central-1\"", "a region and a service"),
    ] {
        let file = file("p", &stand_in, upstream);
        let answer = server
            .api
            .request(reqwest::Method::POST, "/v1/connections")
            .body(file)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{upstream}");
        let problem = answer.text().await.unwrap();
        assert!(problem.contains(said), "{upstream}: {problem}");
    }
}
