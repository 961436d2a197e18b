//! Requests that name a URL.

use cofferdam_domain::ExchangeResult;

use super::{World, get};
use crate::exchange::HttpError;
use crate::gate::origin::Destination;
use crate::refusal::RefusalCode;

fn at(scheme: &str, authority: &str, path_with_query: &str) -> Destination {
    Destination {
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        path_with_query: path_with_query.to_owned(),
    }
}

#[tokio::test]
async fn a_url_of_nobodys_is_a_recorded_refusal_and_one_of_an_upstream_goes_the_gates_way() {
    let world = World::new("http://nowhere.test/ok", "bearer");
    let to = at("http", "evil.test", "/ok?secret=1");
    let refused = world.gate.send_to(&world.passport, &to, get()).await;
    let Err(HttpError::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.code, RefusalCode::UpstreamNotGranted);
    assert!(refusal.message.contains("http://evil.test"), "{}", refusal.message);
    assert!(!refusal.message.contains("secret"), "{}", refusal.message);
    let recorded = world.last();
    assert!(
        matches!(&recorded.result, ExchangeResult::Refused { code, .. } if code == "upstream-not-granted"),
        "{recorded:?}"
    );
    assert_eq!(recorded.upstream.as_str(), "unnamed");
    // The same gate: its own checks, in the same trail.
    let to = at("http", "nowhere.test", "/ok/../x");
    let refused = world.gate.send_to(&world.passport, &to, get()).await;
    assert!(
        matches!(&refused, Err(HttpError::Refused(refusal)) if refusal.code == RefusalCode::BadPath),
        "{refused:?}"
    );
    assert_eq!(world.last().upstream.as_str(), "up");
    assert_eq!(world.passport.trail.exchanges().len(), 2);
    assert_eq!(world.reads(), 0);
}
