//! How keys are made, shared, lost, changed and removed.

use std::ops::ControlFlow;

use cofferdam_store::CommitError;

use super::cache::KEYS_CACHED_MAX;
use super::*;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// Nothing goes but for what every test of retention lets go: what has been done for a day.
const A_DAY: Retention = Retention {
    delivered_days: 1,
    bodies_days: 1,
    attempts_days: 1,
    dead_days: 0,
    bodies_bytes: 0,
    attempts_bytes: 0,
};

/// Everything that there is to retire; answers how many keys went.
async fn retire_all(queue: &StoreQueue, now: Timestamp) -> u64 {
    let mut keys = 0;
    loop {
        let retired = queue.retire(now, &A_DAY).await.unwrap();
        keys += retired.body_keys;
        if !retired.more {
            return keys;
        }
    }
}

fn place_of(workspace: &WorkspaceName, event: EventId) -> BodyPlace<'_> {
    BodyPlace { workspace, event }
}

#[tokio::test]
async fn of_two_that_make_the_first_key_of_a_day_one_must_plan_anew() {
    let store = Store::in_memory();
    let keys = body_keys(&store, "11");
    let home = home();
    let event = || EventId::mint(at(0), &mut rng());
    let seal = |batch: &mut Batch, event| {
        let place = place_of(&home, event);
        keys.seal(batch, &[Unsealed { place, body: b"{}" }]).unwrap().remove(0)
    };
    let ([first, second], mut one, mut two) = ([event(), event()], Batch::new(), Batch::new());
    let sealed = seal(&mut one, first);
    seal(&mut two, second);
    store.commit(one).await.unwrap();
    assert!(matches!(store.commit(two).await, Err(CommitError::Conflict { .. })));
    let mut two = Batch::new();
    let again = seal(&mut two, second);
    store.commit(two).await.unwrap();
    assert_eq!(keys.open(place_of(&home, first), sealed).unwrap(), b"{}");
    assert_eq!(keys.open(place_of(&home, second), again).unwrap(), b"{}");
    assert_eq!(key_records(&store).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_that_race_for_the_first_key_of_a_day_all_get_through() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&cofferdam_store::OpenOptions::new(dir.path()).cache_bytes(4 << 20)).unwrap();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let mut producers = tokio::task::JoinSet::new();
    for number in 0..64u32 {
        // Drawn here, since each thread's numbers begin anew.
        let (queue, request) = (queue.clone(), owed(&number.to_be_bytes(), at(0)));
        producers.spawn(async move {
            let accepted = queue.accept(vec![request], at(0)).await.unwrap().remove(0);
            (accepted.event_id, number)
        });
    }
    for (event, number) in producers.join_all().await {
        let body = queue.body(&home(), event).unwrap();
        assert_eq!(body.as_deref(), Some(&number.to_be_bytes()[..]));
    }
    assert_eq!(key_records(&store).len(), 1);
}

#[tokio::test]
async fn a_key_goes_with_the_last_body_of_its_day_and_not_before() {
    for keeps in [Keeps::Sealed, Keeps::Plain] {
        let store = Store::in_memory();
        let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
        let (done, _) = accept(&queue, b"done", at(0)).await;
        let leased = lease(&queue, at(0)).await.unwrap();
        settle(&queue, leased, Outcome::Delivered, at(0)).await;
        let (waits, _) = accept(&queue, b"waits", at(1)).await;
        accept(&queue, b"the next day", at(DAY_MS)).await;
        // Keys that a former process made are retired as well, whatever the setting is now.
        let queue = queue_of(&store, keeps, at(DAY_MS)).await;
        assert_eq!(
            retire_all(&queue, at(4 * DAY_MS)).await,
            0,
            "one body of each day waits"
        );
        assert_eq!(queue.body(&home(), done).unwrap(), None);
        assert!(queue.body(&home(), waits).unwrap().is_some());

        let leased = lease(&queue, at(4 * DAY_MS)).await.unwrap();
        assert_eq!(leased.event.id, waits);
        settle(&queue, leased, Outcome::Delivered, at(4 * DAY_MS)).await;
        assert_eq!(
            retire_all(&queue, at(4 * DAY_MS)).await,
            0,
            "its body is kept for a day"
        );
        assert_eq!(retire_all(&queue, at(5 * DAY_MS)).await, 1);
        let left = key_records(&store);
        assert_eq!(left.len(), 1);
        assert_eq!(KeyPlace::read(&left[0].0).unwrap().span().from, at(DAY_MS));
        assert_eq!(retire_all(&queue, at(5 * DAY_MS)).await, 0);
        let leased = lease(&queue, at(5 * DAY_MS)).await.unwrap();
        assert_eq!(leased.body, b"the next day");
    }
}

#[tokio::test]
async fn a_key_without_bodies_is_kept_until_its_day_is_over_for_good() {
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let (event, _) = accept(&queue, b"{}", at(0)).await;
    let mut batch = Batch::new();
    batch.delete(sealed_at(event));
    store.commit(batch).await.unwrap();
    for early in [0, DAY_MS, DAY_MS + HOUR_MS - 1] {
        assert_eq!(retire_all(&queue, at(early)).await, 0, "{early}");
    }
    assert_eq!(retire_all(&queue, at(DAY_MS + HOUR_MS)).await, 1);
    assert_eq!(key_records(&store), []);
    // A replayed request of that day makes events of that day: there is a key again.
    let (late, _) = accept(&queue, b"late", at(1)).await;
    assert_eq!(queue.body(&home(), late).unwrap().as_deref(), Some(&b"late"[..]));
}

#[tokio::test]
async fn more_days_than_one_step_looks_at_are_all_retired() {
    let store = Store::in_memory();
    let keys = body_keys(&store, "11");
    let workspaces: [WorkspaceName; 2] = [home(), "other".parse().unwrap()];
    for workspace in &workspaces {
        for day in 0..150 {
            let place = place_of(workspace, EventId::mint(at(day * DAY_MS), &mut rng()));
            let mut batch = Batch::new();
            keys.seal(&mut batch, &[Unsealed { place, body: b"" }]).unwrap();
            store.commit(batch).await.unwrap();
        }
    }
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    assert_eq!(
        retire_all(&queue, at(150 * DAY_MS)).await,
        2 * 149,
        "the last day is not over for an hour"
    );
    assert_eq!(key_records(&store).len(), 2);
}

/// The step between the two of retention is where a body may come in, and where the process may end.
#[tokio::test]
async fn a_body_that_comes_in_while_its_key_is_being_retired_keeps_it() {
    let store = Store::in_memory();
    let keys = body_keys(&store, "11");
    let home = home();
    let seal = |batch: &mut Batch| {
        let place = place_of(&home, EventId::mint(at(0), &mut rng()));
        let sealed = keys.seal(batch, &[Unsealed { place, body: b"{}" }]).unwrap().remove(0);
        (place, sealed)
    };
    let mut first = Batch::new();
    seal(&mut first);
    store.commit(first).await.unwrap();
    let span = keys.spans(None, 9).unwrap().remove(0);

    // Sealed before the key was closed, and stored after: it must not get through.
    let mut before = Batch::new();
    seal(&mut before);
    let mut close = Batch::new();
    keys.close(&mut close, &span).unwrap();
    store.commit(close).await.unwrap();
    assert!(matches!(store.commit(before).await, Err(CommitError::Conflict { .. })));

    // Closing it again is nothing to do; a process may have ended in between.
    let mut again = Batch::new();
    body_keys(&store, "11").close(&mut again, &span).unwrap();
    assert_eq!(again.bytes(), 0);

    // Sealed after it was closed: it takes the key up again, and whoever was about to remove it is refused.
    let (mut forget, mut after) = (Batch::new(), Batch::new());
    keys.forget(&mut forget, &span).unwrap();
    let (place, sealed) = seal(&mut after);
    store.commit(after).await.unwrap();
    assert!(matches!(store.commit(forget).await, Err(CommitError::Conflict { .. })));
    let mut forget = Batch::new();
    keys.forget(&mut forget, &span).unwrap();
    assert_eq!(forget.bytes(), 0, "an open key is not removed");
    assert_eq!(keys.open(place, sealed).unwrap(), b"{}");
    // With another process's eyes too.
    assert_eq!(key_records(&store).len(), 1);
    assert_eq!(KeyRecord::state(&key_records(&store)[0].1), Some(KeyState::Open));
}

/// Each round a body comes in for a day whose key is just being retired. Whoever is first, the body opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_race_with_the_retirement_of_their_key_all_open() {
    const ROUNDS: u64 = 400;
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let (home, keys) = (home(), body_keys(&store, "11"));
    let mut events = Vec::new();
    let mut kept = 0;
    for day in 0..ROUNDS {
        let place = place_of(&home, EventId::mint(at(day * DAY_MS), &mut rng()));
        let mut batch = Batch::new();
        keys.seal(&mut batch, &[Unsealed { place, body: b"" }]).unwrap();
        store.commit(batch).await.unwrap();
        let request = owed(b"{}", at(day * DAY_MS));
        let start = Arc::new(tokio::sync::Barrier::new(2));
        let (accepts, started) = (queue.clone(), Arc::clone(&start));
        let accepting = tokio::spawn(async move {
            started.wait().await;
            accepts.accept(vec![request], at(day * DAY_MS)).await.unwrap().remove(0)
        });
        start.wait().await;
        // As late as can be, so that every earlier day is looked at again as well.
        let removed = retire_all(&queue, at((day + 2) * DAY_MS)).await;
        events.push(accepting.await.unwrap().event_id);
        kept += u64::from(removed == 0);
    }
    for event in events {
        assert_eq!(queue.body(&home, event).unwrap().as_deref(), Some(&b"{}"[..]));
    }
    assert!(kept > 0, "the retirement always came first: nothing was tested");
}

#[tokio::test]
async fn a_key_that_was_removed_is_not_used_from_memory() {
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let (event, _) = accept(&queue, b"{}", at(0)).await;
    assert!(queue.body(&home(), event).unwrap().is_some(), "the key is in memory");
    let mut batch = Batch::new();
    batch.delete(key_records(&store)[0].0.as_slice());
    store.commit(batch).await.unwrap();
    assert!(queue.body(&home(), event).is_err());
    let (next, _) = accept(&queue, b"next", at(0)).await;
    assert_eq!(key_records(&store).len(), 1);
    assert_eq!(queue.body(&home(), next).unwrap().as_deref(), Some(&b"next"[..]));
    assert!(queue.body(&home(), event).is_err(), "the new key is another");
}

#[tokio::test]
async fn a_key_that_does_not_unseal_takes_its_own_bodies_with_it_and_no_others() {
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let (lost, _) = accept(&queue, b"lost", at(0)).await;
    let (at_key, record) = key_records(&store).remove(0);
    for damaged in [&b""[..], b"nonsense", &[1; 73], &[&[9], &record[1..]].concat()] {
        let mut batch = Batch::new();
        batch.put(at_key.as_slice(), damaged);
        store.commit(batch).await.unwrap();
        assert!(queue.body(&home(), lost).is_err());
        let (next, _) = accept(&queue, b"next", at(0)).await;
        assert_eq!(queue.body(&home(), next).unwrap().as_deref(), Some(&b"next"[..]));
    }
    assert_eq!(key_records(&store).len(), 2, "one more, and not one each time");
    // Restored, it opens what it sealed.
    let mut batch = Batch::new();
    batch.put(at_key, record);
    store.commit(batch).await.unwrap();
    assert_eq!(queue.body(&home(), lost).unwrap().as_deref(), Some(&b"lost"[..]));
}

#[tokio::test]
async fn under_another_vault_key_nothing_opens_and_nothing_is_overwritten() {
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let (event, _) = accept(&queue, b"{}", at(0)).await;
    let before = key_records(&store);
    let home = home();
    let other = body_keys(&store, "22");
    let sealed = store.get(sealed_at(event)).unwrap().unwrap();
    let error = other.open(place_of(&home, event), sealed).unwrap_err();
    assert!(
        matches!(error, BodyError::Unopened(text) if text.contains("key")),
        "{error}"
    );
    let mut batch = Batch::new();
    let place = place_of(&home, event);
    other.seal(&mut batch, &[Unsealed { place, body: b"" }]).unwrap();
    store.commit(batch).await.unwrap();
    assert_eq!(key_records(&store)[..1], before[..]);
    assert!(queue.body(&home, event).unwrap().is_some());
}

#[tokio::test]
async fn a_day_whose_keys_all_fail_to_unseal_takes_no_more_and_says_why() {
    let store = Store::in_memory();
    let mut batch = Batch::new();
    for number in 0..KEYS_PER_DAY_MAX {
        let place = KeyPlace {
            workspace: home(),
            day: day_of(at(0)),
            number,
        };
        batch.put(place.key(), "nonsense");
    }
    store.commit(batch).await.unwrap();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let error = queue.accept(vec![owed(b"{}", at(0))], at(0)).await.unwrap_err();
    assert!(error.is_outage(), "producers are told to come back: {error}");
    let (tomorrow, _) = accept(&queue, b"{}", at(DAY_MS)).await;
    assert!(queue.body(&home(), tomorrow).unwrap().is_some());
}

#[tokio::test]
async fn a_rekey_seals_every_key_anew_and_no_body() {
    let store = Store::in_memory();
    Vault::open(store.clone(), vault_key("11")).await.unwrap();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let mut events = Vec::new();
    for day in 0..100 {
        events.push(accept(&queue, b"{}", at(day * DAY_MS)).await.0);
    }
    let sealed = |event| store.get(sealed_at(event)).unwrap().unwrap();
    let before: Vec<_> = events.iter().map(|event| sealed(*event)).collect();
    let nonsense = KeyPlace {
        workspace: home(),
        day: 7,
        number: 0,
    };
    let mut batch = Batch::new();
    batch.put(nonsense.key(), "nonsense");
    store.commit(batch).await.unwrap();

    let (old, new) = (vault_key("11"), vault_key("22"));
    crate::rekey(&store, &old, &new, "new.key", at(0), &mut |_| ControlFlow::Continue(()))
        .await
        .unwrap();
    let vault = Vault::open(store.clone(), new).await.unwrap();
    let home = home();
    for (event, before) in events.iter().zip(before) {
        let place = place_of(&home, *event);
        assert_eq!(sealed(*event), before);
        assert_eq!(vault.body_keys().open(place, before.clone()).unwrap(), b"{}");
        assert!(body_keys(&store, "11").open(place, before).is_err());
    }
    let left = store.get(nonsense.key()).unwrap();
    assert_eq!(
        left.as_deref(),
        Some(&b"nonsense"[..]),
        "it is no reason to keep the old key"
    );
}

/// Wherever it ends, the vault opens with one of the keys, and the bodies with it.
#[tokio::test]
async fn a_rekey_that_ends_anywhere_leaves_bodies_that_open() {
    for end in 0.. {
        let store = Store::in_memory();
        Vault::open(store.clone(), vault_key("11")).await.unwrap();
        let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
        let mut events = Vec::new();
        for day in 0..40 {
            events.push(accept(&queue, b"{}", at(day * DAY_MS)).await.0);
        }
        let (mut steps, old, new) = (0, vault_key("11"), vault_key("22"));
        let mut step = |_| {
            steps += 1;
            if steps > end {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let ended = crate::rekey(&store, &old, &new, "new.key", at(0), &mut step).await;
        let vault = match Vault::open(store.clone(), vault_key("22")).await {
            Ok(vault) => vault,
            Err(_) => Vault::open(store.clone(), vault_key("11")).await.unwrap(),
        };
        let bodies = Bodies::Sealed(Arc::new(vault.body_keys()));
        let queue = StoreQueue::open_with(store, bodies, at(0), rng()).await.unwrap();
        for event in events {
            assert_eq!(
                queue.body(&home(), event).unwrap().as_deref(),
                Some(&b"{}"[..]),
                "end {end}"
            );
        }
        if ended.is_ok() {
            assert!(end > 4, "there were {steps} steps");
            return;
        }
    }
}

#[tokio::test]
async fn no_more_keys_stay_in_memory_than_may() {
    let store = Store::in_memory();
    let keys = body_keys(&store, "11");
    let home = home();
    let mut last = None;
    for day in 0..=KEYS_CACHED_MAX as u64 {
        let place = place_of(&home, EventId::mint(at(day * DAY_MS), &mut rng()));
        let mut batch = Batch::new();
        let sealed = keys
            .seal(&mut batch, &[Unsealed { place, body: b"{}" }])
            .unwrap()
            .remove(0);
        store.commit(batch).await.unwrap();
        assert_eq!(keys.open(place, sealed.clone()).unwrap(), b"{}");
        last = Some((place, sealed));
    }
    assert_eq!(keys.cache.len(), KEYS_CACHED_MAX);
    let (place, sealed) = last.unwrap();
    assert_eq!(keys.open(place, sealed).unwrap(), b"{}");
}

#[tokio::test]
async fn a_vault_whose_key_check_is_gone_is_refused_for_the_keys_of_bodies_too() {
    let store = Store::in_memory();
    let vault = Vault::open(store.clone(), vault_key("11")).await.unwrap();
    let bodies = Bodies::Sealed(Arc::new(vault.body_keys()));
    let queue = StoreQueue::open_with(store.clone(), bodies, at(0), rng())
        .await
        .unwrap();
    accept(&queue, b"{}", at(0)).await;
    let mut batch = Batch::new();
    batch.delete(Key::of(Keyspace::Vault).text("key-check"));
    store.commit(batch).await.unwrap();
    let opened = Vault::open(store, vault_key("22")).await;
    assert!(matches!(opened.err(), Some(VaultError::KeyCheckDamaged)));
}
