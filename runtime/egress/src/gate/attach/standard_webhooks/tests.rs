use ring::signature::{ED25519, UnparsedPublicKey};

use crate::gate::attach::tests::send;
use crate::refusal::RefusalCode;

use super::*;

/// The vector of the Standard Webhooks reference libraries.
#[test]
fn standard_webhooks_matches_the_reference_vector() {
    let sent = send(
        "standard-webhooks",
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        br#"{"test": 2432232314}"#,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
    )
    .unwrap();
    assert_eq!(sent.headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(sent.headers["webhook-timestamp"], "1614265330");
    assert_eq!(
        sent.headers["webhook-signature"],
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
    // The key is searched for in answers in each of its forms.
    assert_eq!(sent.needles.len(), 3);
}
