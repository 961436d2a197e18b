use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;
use crate::{BATCH_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

#[test]
fn a_batch_whose_precondition_fails_leaves_nothing() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        put(&store, "there", b"1").unwrap();
        let cases: [(&str, &str, Option<&str>); 4] = [
            ("absent but there", "there", None),
            ("another value", "there", Some("2")),
            ("a prefix of the value", "there", Some("")),
            ("no such record", "gone", Some("")),
        ];
        for (case, key, expected) in cases {
            let mut batch = Batch::new();
            batch
                .put("a", "x")
                .put("there", "x")
                .delete("there")
                .then(|| panic!("a hook of a refused batch ran"));
            match expected {
                Some(value) => batch.expect(key, value),
                None => batch.expect_absent(key),
            };
            assert!(
                matches!(store.commit_blocking(batch), Err(CommitError::Conflict { .. })),
                "{case}"
            );
            assert_eq!(store.get("a").unwrap(), None, "{case}");
            assert_eq!(store.get("there").unwrap().as_deref(), Some(&b"1"[..]), "{case}");
        }
    });
}

#[test]
fn later_writes_of_a_batch_replace_earlier_ones() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        let mut batch = Batch::new();
        batch
            .expect_absent("k")
            .put("k", vec![1; 9000])
            .put("k", "2")
            .delete("gone")
            .put("l", "1")
            .delete("l");
        store.commit_blocking(batch).unwrap();
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(store.get("l").unwrap(), None);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_expect_the_same_exactly_one_wins() {
    let dirs = Engine::ALL.map(|engine| (engine, tempfile::tempdir().unwrap()));
    for (engine, dir) in &dirs {
        check_that_one_wins(open(*engine, dir.path()).unwrap()).await;
    }
    check_that_one_wins(Store::in_memory()).await;
}

async fn check_that_one_wins(store: Store) {
    const ROUNDS: u64 = 20;
    const CALLERS: u64 = 16;
    let hooks = Arc::new(AtomicUsize::new(0));
    for round in 0..ROUNDS {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (store, hooks) = (store.clone(), Arc::clone(&hooks));
            callers.spawn(async move {
                let mut batch = Batch::new();
                match round {
                    0 => batch.expect_absent("counter"),
                    _ => batch.expect("counter", (round - 1).to_be_bytes()),
                };
                batch
                    .put("counter", round.to_be_bytes())
                    .put(format!("winner {round}"), caller.to_be_bytes());
                batch.then(move || {
                    hooks.fetch_add(1, Ordering::SeqCst);
                });
                store.commit(batch).await
            });
        }
        let results = callers.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Ok(()) | Err(CommitError::Conflict { .. })))
        );
    }
    assert_eq!(hooks.load(Ordering::SeqCst), 20);
    assert_eq!(store.get("counter").unwrap(), Some((ROUNDS - 1).to_be_bytes().to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_does_not_hold_up_the_rest_of_its_group_and_batches_see_those_before_them() {
    for engine in Engine::ALL {
        check_that_a_conflict_stands_alone(engine).await;
    }
}

async fn check_that_a_conflict_stands_alone(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let script = Arc::new(Mutex::new(Script::default()));
    let store = Scripted::open(engine, dir.path(), &script);
    let batch = |expected: Option<&str>, key: &str, value: &str| {
        let mut batch = Batch::new();
        match expected {
            Some(expected) => batch.expect("head", expected),
            None => batch.expect_absent("head"),
        };
        batch.put("head", value).put(key, value);
        batch
    };
    // The engine is held, so that what is asked meanwhile becomes one group.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut holding = Batch::new();
    holding.put("holding", "").then(move || held.recv().unwrap());
    let large = "3".repeat(9000);
    let waiting = async {
        tokio::join!(
            biased;
            store.commit(holding),
            store.commit(batch(None, "a", "1")),
            store.commit(batch(None, "b", "2")),
            store.commit(batch(Some("1"), "c", &large)),
            store.commit(batch(Some(&large), "d", "4")),
            async { release.send(()).unwrap() },
        )
    };
    let (held, first, refused, large_one, last, ()) = waiting.await;
    assert!(held.is_ok() && first.is_ok() && large_one.is_ok() && last.is_ok());
    assert!(matches!(refused, Err(CommitError::Conflict { key }) if key == b"head"));
    assert_eq!(store.get("b").unwrap(), None);
    assert_eq!(store.get("c").unwrap(), Some(large.into_bytes()));
    assert_eq!(store.get("head").unwrap().as_deref(), Some(&b"4"[..]));
    let groups = &script.lock().unwrap().groups;
    assert_eq!(
        groups.last().unwrap().iter().filter(|key| key.len() == 1).count(),
        3,
        "a, c and d are one group"
    );
}

#[test]
fn what_is_over_a_limit_is_refused_and_what_is_at_it_is_taken() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        let one = |key: Vec<u8>, value: Vec<u8>| {
            let mut batch = Batch::new();
            batch.put(key, value);
            store.commit_blocking(batch)
        };
        let long = vec![b'k'; KEY_BYTES_MAX];
        assert!(one(long.clone(), vec![1]).is_ok());
        assert_eq!(store.get(&long).unwrap(), Some(vec![1]));
        assert!(one(b"v".to_vec(), vec![1; VALUE_BYTES_MAX]).is_ok());
        assert_eq!(store.get("v").unwrap(), Some(vec![1; VALUE_BYTES_MAX]));
        assert!(matches!(one(Vec::new(), vec![1]), Err(CommitError::TooLarge)));
        assert!(matches!(
            one(vec![b'k'; KEY_BYTES_MAX + 1], vec![1]),
            Err(CommitError::TooLarge)
        ));
        assert!(matches!(
            one(b"v".to_vec(), vec![1; VALUE_BYTES_MAX + 1]),
            Err(CommitError::TooLarge)
        ));
        let mut large = Batch::new();
        for key in ["a", "b", "c"] {
            large.put(key, vec![1; BATCH_BYTES_MAX / 3 + 1]);
        }
        assert!(matches!(store.commit_blocking(large), Err(CommitError::TooLarge)));
        for reserved in [&b"\xfeformat"[..], b"\xff"] {
            assert!(matches!(
                one(reserved.to_vec(), vec![1]),
                Err(CommitError::Reserved { .. })
            ));
        }
    });
}
