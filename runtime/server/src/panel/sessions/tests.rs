use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn principal(role: Role) -> Arc<Principal> {
    Arc::new(Principal {
        name: "ann".into(),
        workspace: cofferdam_domain::WorkspaceName::default(),
        role,
        created_at: Timestamp::ZERO,
    })
}

fn at(wait: Duration) -> Timestamp {
    Timestamp::from_millis(1_000_000).after(wait)
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn an_idle_session_ends_and_use_keeps_it_alive() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(1));
    let id = sessions.open(principal(Role::Admin), at(Duration::ZERO), rng);
    assert!(sessions.find(&id, at(IDLE_MAX - MS)).is_some());
    assert!(
        sessions.find(&id, at(2 * IDLE_MAX - 2 * MS)).is_some(),
        "the use before has moved its end"
    );
    assert!(sessions.find(&id, at(3 * IDLE_MAX)).is_none());
    assert!(
        sessions.find(&id, at(Duration::ZERO)).is_none(),
        "an ended session does not come back with the clock"
    );
}

#[test]
fn no_use_keeps_a_session_alive_beyond_its_age() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(2));
    let id = sessions.open(principal(Role::Admin), at(Duration::ZERO), rng);
    let mut passed = Duration::ZERO;
    while passed < AGE_MAX {
        assert!(sessions.find(&id, at(passed)).is_some(), "{passed:?}");
        passed += IDLE_MAX / 2;
    }
    assert!(sessions.find(&id, at(AGE_MAX - MS)).is_some());
    assert!(sessions.find(&id, at(AGE_MAX)).is_none());
}

#[test]
fn one_session_too_many_ends_the_one_that_was_opened_first() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(3));
    let mut ids = Vec::new();
    for count in 0..=SESSIONS_MAX {
        ids.push(sessions.open(principal(Role::Viewer), at(MS * u32::try_from(count).unwrap()), rng));
    }
    let now = at(Duration::from_secs(60));
    assert!(sessions.find(&ids[0], now).is_none());
    assert!(ids[1..].iter().all(|id| sessions.find(id, now).is_some()));
}

#[test]
fn a_full_table_drops_ended_sessions_before_living_ones() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(4));
    let used = sessions.open(principal(Role::Viewer), at(Duration::ZERO), rng);
    for _ in 1..SESSIONS_MAX {
        sessions.open(principal(Role::Viewer), at(MS), rng);
    }
    assert!(sessions.find(&used, at(IDLE_MAX - MS)).is_some());
    sessions.open(principal(Role::Viewer), at(IDLE_MAX + MS), rng);
    assert!(
        sessions.find(&used, at(IDLE_MAX + MS)).is_some(),
        "it was opened first, and it is in use"
    );
    assert_eq!(sessions.lock().len(), 2);
}

#[test]
fn a_closed_session_is_gone_and_an_unknown_id_is_nobody() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(5));
    let id = sessions.open(principal(Role::Admin), at(MS), rng);
    assert!(sessions.find("", at(MS)).is_none());
    assert!(sessions.find(&id[1..], at(MS)).is_none());
    sessions.close(&id);
    assert!(sessions.find(&id, at(MS)).is_none());
}

#[test]
fn a_form_belongs_to_the_session_whose_token_it_carries() {
    let (sessions, rng) = (Sessions::default(), &mut StdRng::seed_from_u64(6));
    let mut session = || {
        let id = sessions.open(principal(Role::Admin), at(MS), rng);
        (sessions.find(&id, at(MS)).unwrap(), id)
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
        let id = sessions.open(principal(role), at(MS), rng);
        assert_eq!(sessions.find(&id, at(MS)).unwrap().may_change(), expected, "{role:?}");
    }
}

#[test]
fn ids_and_form_tokens_hold_256_bits_and_never_repeat() {
    let rng = &mut StdRng::seed_from_u64(8);
    let drawn: HashSet<String> = (0..1_000).map(|_| unguessable(rng)).collect();
    assert_eq!(drawn.len(), 1_000);
    assert!(drawn.iter().all(|text| text.len() == 43));
}
