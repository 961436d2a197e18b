//! What opens and what does not, and what becomes of a delivery whose body does not.

use super::*;

#[tokio::test]
async fn bodies_of_every_size_come_out_as_they_went_in() {
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    for bytes in [0, 1, 200, 4050, 4051, 4095, 4096, 20_000, 1 << 20] {
        let body: Vec<u8> = (0..=250).cycle().take(bytes).collect();
        let (event, delivery) = accept(&queue, &body, at(0)).await;
        assert!(
            queue.body(&home(), event).unwrap().as_deref() == Some(&body[..]),
            "{bytes}"
        );
        let leased = lease(&queue, at(0)).await.unwrap();
        assert!(leased.delivery.id == delivery && leased.body == body, "{bytes}");
        assert_eq!(
            leased.event.body_hash,
            cofferdam_domain::Digest::of(&body),
            "of the body as it came"
        );
        assert_eq!(leased.event.body_bytes, bytes as u64);
        settle(&queue, leased, Outcome::Delivered, at(0)).await;
    }
}

#[tokio::test]
async fn a_batch_of_events_shares_the_key_that_it_makes() {
    let store = Store::in_memory();
    let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
    let other: WorkspaceName = "other".parse().unwrap();
    let requests = vec![
        owed(b"one", at(0)),
        owed_in(&other, b"two", at(0)),
        owed(b"three", at(0)),
        owed(b"the next day", at(DAY_MS)),
    ];
    let accepted = queue.accept(requests, at(0)).await.unwrap();
    assert_eq!(key_records(&store).len(), 3, "two days here, one there");
    for (accepted, (workspace, body)) in accepted.iter().zip([
        (home(), &b"one"[..]),
        (other, b"two"),
        (home(), b"three"),
        (home(), b"the next day"),
    ]) {
        let found = queue.body(&workspace, accepted.event_id).unwrap();
        assert_eq!(found.as_deref(), Some(body));
    }
}

#[tokio::test]
async fn every_changed_bit_and_every_cut_is_noticed() {
    let store = Store::in_memory();
    let keys = body_keys(&store, "11");
    let home = home();
    let place = BodyPlace {
        workspace: &home,
        event: EventId::mint(at(0), &mut rng()),
    };
    let mut batch = Batch::new();
    let sealed = keys
        .seal(
            &mut batch,
            &[Unsealed {
                place,
                body: b"{\"a\":1}",
            }],
        )
        .unwrap()
        .remove(0);
    store.commit(batch).await.unwrap();
    assert_eq!(keys.open(place, sealed.clone()).unwrap(), b"{\"a\":1}");
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert!(keys.open(place, changed).is_err(), "byte {index}");
        assert!(keys.open(place, sealed[..index].to_vec()).is_err(), "cut at {index}");
    }
    let mut longer = sealed;
    longer.push(0);
    assert!(keys.open(place, longer).is_err());
}

#[tokio::test]
async fn a_body_opens_for_its_own_event_and_workspace_only() {
    let store = Store::in_memory();
    let keys = body_keys(&store, "11");
    let (home, other) = (home(), "other".parse().unwrap());
    let mut rng = rng();
    let (event, next) = (EventId::mint(at(0), &mut rng), EventId::mint(at(0), &mut rng));
    let place = |workspace, event| BodyPlace { workspace, event };
    let body = b"{}";
    let all = [place(&home, event), place(&home, next), place(&other, event)];
    let mut batch = Batch::new();
    let sealed = keys
        .seal(&mut batch, &all.map(|place| Unsealed { place, body }))
        .unwrap();
    store.commit(batch).await.unwrap();
    for (index, sealed) in sealed.iter().enumerate() {
        for (at, place) in all.iter().enumerate() {
            assert_eq!(
                keys.open(*place, sealed.clone()).is_ok(),
                index == at,
                "{index} in {at}"
            );
        }
    }
    // Nor does the key of one workspace or day open in the place of another.
    let [(ours, record), (theirs, _)] = &key_records(&store)[..] else {
        panic!("there are two keys");
    };
    let (ours, theirs) = (KeyPlace::read(ours).unwrap(), KeyPlace::read(theirs).unwrap());
    assert!(KeyRecord::open(record, &vault_key("11"), &ours).is_ok());
    let (day, number) = (
        KeyPlace {
            day: ours.day + 1,
            ..ours.clone()
        },
        KeyPlace { number: 1, ..ours },
    );
    for elsewhere in [theirs, day, number] {
        assert!(
            KeyRecord::open(record, &vault_key("11"), &elsewhere).is_err(),
            "{elsewhere:?}"
        );
    }
}

/// What may be done to a sealed body, and what the dead letter then says.
#[tokio::test]
async fn a_body_that_does_not_open_is_a_dead_letter_and_the_next_one_goes_on() {
    type Damage = fn(&Store, &mut Batch, [EventId; 2]);
    let cases: [(&str, Damage, &str); 5] = [
        (
            "the body of another event",
            |store, batch, [first, second]| {
                batch.put(sealed_at(first), store.get(sealed_at(second)).unwrap().unwrap());
            },
            "sealed for another event",
        ),
        (
            "nonsense",
            |_, batch, [first, _]| _ = batch.put(sealed_at(first), "nonsense"),
            "no known format",
        ),
        (
            "a later format",
            |_, batch, [first, _]| _ = batch.put(sealed_at(first), vec![2; 99]),
            "no known format",
        ),
        (
            "nothing",
            |_, batch, [first, _]| _ = batch.put(sealed_at(first), ""),
            "no known format",
        ),
        (
            "a key that there is none of",
            |_, batch, [first, _]| _ = batch.put(sealed_at(first), [&[1, 0, 0, 0, 9][..], &[7; 99]].concat()),
            "missing or does not unseal",
        ),
    ];
    for (case, damage, message) in cases {
        let store = Store::in_memory();
        let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
        let (first, damaged) = accept(&queue, b"one", at(0)).await;
        let (second, sound) = accept(&queue, b"two", at(1)).await;
        let mut batch = Batch::new();
        damage(&store, &mut batch, [first, second]);
        store.commit(batch).await.unwrap();

        let leased = lease(&queue, at(5)).await.unwrap();
        assert_eq!((leased.delivery.id, &leased.body[..]), (sound, &b"two"[..]), "{case}");
        let dead = queue.delivery(&home(), damaged).unwrap().unwrap();
        let class = FailureClass::DataQuality;
        assert_eq!(dead.state, DeliveryState::Dead { at: at(5), class }, "{case}");
        let why = dead.last_failure.unwrap();
        assert_eq!(why.code.as_deref(), Some("record-damaged"), "{case}");
        assert!(why.message.contains(message), "{case}: {}", why.message);
        assert!(queue.body(&home(), first).is_err(), "{case}");
        accept(&queue, b"three", at(6)).await;
    }
}

#[tokio::test]
async fn sealing_is_turned_on_and_off_at_any_time_and_every_body_stays_readable() {
    let store = Store::in_memory();
    let mut events = Vec::new();
    let turns = [Keeps::NoSeal, Keeps::Sealed, Keeps::Plain, Keeps::Sealed, Keeps::Plain];
    for (turn, keeps) in turns.into_iter().enumerate() {
        let now = at(turn as u64);
        let queue = queue_of(&store, keeps, now).await;
        let body = format!("body {turn}").into_bytes();
        let (event, _) = accept(&queue, &body, now).await;
        let sealed = store.get(sealed_at(event)).unwrap();
        assert_eq!(sealed.is_some(), keeps == Keeps::Sealed, "{keeps:?}");
        events.push((event, body));
        for (event, body) in &events {
            assert_eq!(queue.body(&home(), *event).unwrap().as_ref(), Some(body), "{keeps:?}");
        }
    }
    let queue = queue_of(&store, Keeps::Sealed, at(9)).await;
    for (event, body) in &events {
        let leased = lease(&queue, at(9)).await.unwrap();
        assert_eq!((leased.event.id, &leased.body), (*event, body));
    }
    // Without keys what is sealed is refused, and the rest is read.
    let queue = queue_of(&store, Keeps::NoSeal, at(10)).await;
    let readable = events.iter().map(|(event, _)| queue.body(&home(), *event).is_ok());
    assert!(readable.eq(turns.map(|keeps| keeps != Keeps::Sealed)));
}
