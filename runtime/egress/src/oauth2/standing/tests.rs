use super::*;
use crate::oauth2::token_set::{Refused, Token};

const SECOND: u64 = 1000;

fn grant(kind: &str) -> OAuth2Grant {
    serde_json::from_str(&format!(
        r#"{{"grant":"{kind}","token_url":"https://as.test/t","client_id":"us"}}"#
    ))
    .unwrap()
}

fn set(grant: &OAuth2Grant, lives: Option<u64>, refresh: bool) -> TokenSet {
    let at = Timestamp::from_millis(1_000_000);
    TokenSet {
        access_token: Some(Token::new("at", 9).unwrap()),
        refresh_token: refresh.then(|| Token::new("rt", 9).unwrap()),
        expires_at: lives.map(|seconds| at.after(Duration::from_secs(seconds))),
        ..TokenSet::empty(grant.bound_to(), grant.asked(), at)
    }
}

/// How a set stands so many seconds after it was obtained.
fn after(set: &TokenSet, grant: &OAuth2Grant, seconds: u64) -> Standing {
    let seen = Circumstances {
        grant,
        secret_version: 1,
        now: Timestamp::from_millis(1_000_000 + seconds * SECOND),
        spread: 0.0,
    };
    standing(Some(set), &seen)
}

#[test]
fn a_token_is_good_then_due_then_lapsed_at_exact_times() {
    let grant = grant("authorization-code");
    let check = |lives: Option<u64>, refresh: bool, seconds: u64, expected: Standing| {
        let stands = after(&set(&grant, lives, refresh), &grant, seconds);
        assert_eq!(stands, expected, "{lives:?} {refresh} after {seconds}");
    };
    let expired = Standing::ConsentNeeded(NoConsent::Expired);
    // An hour: renewed 300 s and no longer used 30 s before its end.
    check(Some(3600), true, 0, Standing::Good);
    check(Some(3600), true, 3299, Standing::Good);
    check(Some(3600), true, 3300, Standing::Due);
    check(Some(3600), true, 3569, Standing::Due);
    check(Some(3600), true, 3570, Standing::Lapsed);
    check(Some(3600), false, 3569, Standing::Good);
    check(Some(3600), false, 3570, expired);
    // A short life: its last quarter is not used, and the renewal comes before that.
    check(Some(40), true, 24, Standing::Good);
    check(Some(40), true, 25, Standing::Due);
    check(Some(40), true, 29, Standing::Due);
    check(Some(40), true, 30, Standing::Lapsed);
    check(Some(1), true, 1, Standing::Lapsed);
    // No word on its life.
    check(None, true, 3299, Standing::Good);
    check(None, true, 3300, Standing::Due);
    check(None, true, 999_999, Standing::Due);
    check(None, false, 999_999, Standing::Good);
}

#[test]
fn renewals_are_spread_by_up_to_half_of_what_they_come_ahead() {
    let grant = grant("authorization-code");
    let set = set(&grant, Some(3600), true);
    for (spread, seconds) in [(0.0, 3300), (0.5, 3225), (1.0, 3150), (7.0, 3150)] {
        let at = renewed_at(&set, spread);
        assert_eq!(at, Timestamp::from_millis(1_000_000 + seconds * SECOND), "{spread}");
    }
}

#[test]
fn tokens_of_another_client_or_server_are_never_used() {
    let ours = grant("authorization-code");
    let mut theirs = ours.clone();
    theirs.token_url = "https://evil.test/t".parse().unwrap();
    let rebound = Standing::ConsentNeeded(NoConsent::Rebound);
    assert_eq!(after(&set(&ours, None, true), &theirs, 0), rebound);
    let own = grant("client-credentials");
    assert_eq!(after(&set(&ours, None, true), &own, 0), Standing::Lapsed);
}

#[test]
fn a_clients_own_token_is_for_what_was_asked_and_a_persons_stays() {
    for (kind, expected) in [
        ("client-credentials", Standing::Lapsed),
        ("authorization-code", Standing::Good),
    ] {
        let before = grant(kind);
        let mut more = before.clone();
        more.scopes = Some(vec!["more".to_owned()]);
        assert_eq!(after(&set(&before, None, true), &more, 0), expected, "{kind}");
    }
}

#[test]
fn a_no_for_good_stands_until_what_was_asked_or_the_secret_changes() {
    let grant = grant("client-credentials");
    let refused = |secret_version, asked| {
        let mut set = set(&grant, Some(3600), false);
        set.refused = Some(Refused {
            why: TokenRefusal::InvalidClient,
            at: Timestamp::ZERO,
            asked,
            secret_version,
        });
        set
    };
    let no = Standing::Refused(TokenRefusal::InvalidClient);
    // The token that is still there is used, and no renewal is tried.
    assert_eq!(after(&refused(1, grant.asked()), &grant, 3400), Standing::Good);
    assert_eq!(after(&refused(1, grant.asked()), &grant, 3600), no);
    assert_eq!(after(&refused(2, grant.asked()), &grant, 3600), Standing::Lapsed);
    let other = cofferdam_domain::Digest::of(b"other");
    assert_eq!(after(&refused(1, other), &grant, 3600), Standing::Lapsed);
    assert_eq!(after(&refused(1, other), &grant, 3400), Standing::Due);
}

#[test]
fn an_ended_consent_is_ended_whatever_changes() {
    let grant = grant("authorization-code");
    let mut ended = set(&grant, Some(3600), true);
    ended.refused = Some(Refused {
        why: TokenRefusal::InvalidGrant,
        at: Timestamp::ZERO,
        asked: cofferdam_domain::Digest::of(b"other"),
        secret_version: 9,
    });
    assert_eq!(after(&ended, &grant, 0), Standing::ConsentNeeded(NoConsent::Ended));
}

#[test]
fn without_a_set_a_client_asks_and_a_person_is_asked() {
    let check = |kind: &str, expected| {
        let grant = grant(kind);
        let seen = Circumstances {
            grant: &grant,
            secret_version: 0,
            now: Timestamp::ZERO,
            spread: 0.0,
        };
        assert_eq!(standing(None, &seen), expected);
    };
    check("client-credentials", Standing::Lapsed);
    check("authorization-code", Standing::ConsentNeeded(NoConsent::Never));
}
