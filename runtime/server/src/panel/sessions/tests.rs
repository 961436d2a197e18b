use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

/// The look-up of a token that is known, and has this role.
fn known(role: Role) -> impl Fn(TokenHash) -> Option<Arc<Principal>> {
    let principal = Arc::new(Principal {
        name: "ann".into(),
        workspace: cofferdam_domain::WorkspaceName::default(),
        role,
        created_at: Timestamp::ZERO,
    });
    move |_| Some(Arc::clone(&principal))
}

fn token(number: usize) -> TokenHash {
    TokenHash::of(&number.to_string())
}

fn is_open(sessions: &Sessions, id: &str, now: Timestamp) -> bool {
    sessions.find(id, now, known(Role::Viewer)).is_some()
}

fn at(wait: Duration) -> Timestamp {
    Timestamp::from_millis(1_000_000).after(wait)
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn an_idle_session_ends_and_use_keeps_it_alive() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(1));
    let id = sessions.open(token(0), at(Duration::ZERO), rng);
    assert!(is_open(&sessions, &id, at(IDLE_MAX - MS)));
    assert!(
        is_open(&sessions, &id, at(2 * IDLE_MAX - 2 * MS)),
        "the use before has moved its end"
    );
    assert!(!is_open(&sessions, &id, at(3 * IDLE_MAX)));
    assert!(
        !is_open(&sessions, &id, at(Duration::ZERO)),
        "an ended session does not come back with the clock"
    );
}

#[test]
fn no_use_keeps_a_session_alive_beyond_its_age() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(2));
    let id = sessions.open(token(0), at(Duration::ZERO), rng);
    let mut passed = Duration::ZERO;
    while passed < AGE_MAX {
        assert!(is_open(&sessions, &id, at(passed)), "{passed:?}");
        passed += IDLE_MAX / 2;
    }
    assert!(is_open(&sessions, &id, at(AGE_MAX - MS)));
    assert!(!is_open(&sessions, &id, at(AGE_MAX)));
}

#[test]
fn one_session_too_many_ends_the_one_that_was_opened_first() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(3));
    let mut ids = Vec::new();
    for count in 0..=SESSIONS_MAX {
        ids.push(sessions.open(token(count), at(MS * u32::try_from(count).unwrap()), rng));
    }
    let now = at(Duration::from_secs(60));
    assert!(!is_open(&sessions, &ids[0], now));
    assert!(ids[1..].iter().all(|id| is_open(&sessions, id, now)));
}

#[test]
fn a_full_table_drops_ended_sessions_before_living_ones() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(4));
    let used = sessions.open(token(0), at(Duration::ZERO), rng);
    for count in 1..SESSIONS_MAX {
        sessions.open(token(count), at(MS), rng);
    }
    assert!(is_open(&sessions, &used, at(IDLE_MAX - MS)));
    sessions.open(token(0), at(IDLE_MAX + MS), rng);
    assert!(
        is_open(&sessions, &used, at(IDLE_MAX + MS)),
        "it was opened first, and it is in use"
    );
    assert_eq!(sessions.lock().len(), 2);
}

#[test]
fn a_token_that_opens_too_many_sessions_ends_its_own_and_nobody_elses() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(9));
    let other = sessions.open(token(1), at(Duration::ZERO), rng);
    let ids: Vec<_> = (0..2 * SESSIONS_MAX)
        .map(|count| sessions.open(token(0), at(MS * u32::try_from(count).unwrap()), rng))
        .collect();
    let (ended, open) = ids.split_at(ids.len() - SESSIONS_PER_TOKEN_MAX);
    let now = at(Duration::from_secs(60));
    assert!(is_open(&sessions, &other, now));
    assert!(open.iter().all(|id| is_open(&sessions, id, now)));
    assert!(!ended.iter().any(|id| is_open(&sessions, id, now)));
}

#[test]
fn a_token_that_is_revoked_ends_its_sessions_for_good() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(10));
    let revoked = sessions.open(token(0), at(MS), rng);
    let other = sessions.open(token(1), at(MS), rng);
    let live = |hash: TokenHash| known(Role::Viewer)(hash).filter(|_| hash != token(0));
    assert!(is_open(&sessions, &revoked, at(MS)));
    assert!(sessions.find(&revoked, at(MS), live).is_none());
    assert!(
        !is_open(&sessions, &revoked, at(MS)),
        "it is not kept for a token that comes back"
    );
    assert!(sessions.find(&other, at(MS), live).is_some());
}

#[test]
fn a_session_has_the_role_that_its_token_has_now() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(11));
    let id = sessions.open(token(0), at(MS), rng);
    for role in [Role::Admin, Role::Viewer, Role::Admin] {
        assert_eq!(sessions.find(&id, at(MS), known(role)).unwrap().principal.role, role);
    }
}

#[test]
fn a_closed_session_is_gone_and_an_unknown_id_is_nobody() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(5));
    let id = sessions.open(token(0), at(MS), rng);
    assert!(!is_open(&sessions, "", at(MS)));
    assert!(!is_open(&sessions, &id[1..], at(MS)));
    sessions.close(&id);
    assert!(!is_open(&sessions, &id, at(MS)));
}

#[test]
fn a_form_belongs_to_the_session_whose_token_it_carries() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(6));
    let mut session = || {
        let id = sessions.open(token(0), at(MS), rng);
        (sessions.find(&id, at(MS), known(Role::Admin)).unwrap(), id)
    };
    let ((one, one_id), (other, _)) = (session(), session());
    assert!(one.owns_form(&one.form_token));
    for foreign in [
        "",
        &other.form_token,
        &one_id,
        &one.form_token[1..],
        &format!("{}x", one.form_token),
    ] {
        assert!(!one.owns_form(foreign), "{foreign}");
    }
}

#[test]
fn only_an_admin_may_change_things() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(7));
    for (role, expected) in [(Role::Admin, true), (Role::Viewer, false), (Role::Ingest, false)] {
        let id = sessions.open(token(0), at(MS), rng);
        let session = sessions.find(&id, at(MS), known(role)).unwrap();
        assert_eq!(session.may_change(), expected, "{role:?}");
    }
}

#[test]
fn ids_and_form_tokens_hold_256_bits_and_never_repeat() {
    let rng = &mut StdRng::seed_from_u64(8);
    let drawn: HashSet<String> = (0..1_000).map(|_| unguessable(rng)).collect();
    assert_eq!(drawn.len(), 1_000);
    assert!(drawn.iter().all(|text| text.len() == 43));
}
