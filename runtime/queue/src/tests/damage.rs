use cofferdam_domain::{DeliveryId, EventId};
use cofferdam_store::{Batch, Key};

use super::*;
use crate::keys::{self, LaneEntry, LaneIndex};

impl Bed {
    async fn damage(&self, change: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        change(&mut batch);
        self.queue.store.commit(batch).await.unwrap();
    }

    /// Two deliveries, of which the first to be leased is to be damaged.
    async fn two(&self) -> [(EventId, DeliveryId); 2] {
        let mut ids = Vec::new();
        for ms in 0..2 {
            let accepted = self.accept(owed(b"{}", None, at(ms)), at(ms)).await;
            ids.push((accepted.event_id, accepted.deliveries[0]));
        }
        [ids[0], ids[1]]
    }
}

fn entry(delivery: DeliveryId, at: Timestamp) -> LaneEntry {
    LaneEntry {
        workspace: home(),
        connection: sink(),
        at,
        delivery,
    }
}

#[tokio::test]
async fn a_delivery_without_its_event_or_body_is_a_dead_letter_and_the_next_one_goes_on() {
    type Damage = fn(&mut Batch, EventId);
    let cases: [(&str, Damage, &str); 3] = [
        (
            "no event",
            |batch, event| _ = batch.delete(keys::event(&home(), event)),
            "the event of this delivery is missing",
        ),
        (
            "no body",
            |batch, event| _ = batch.delete(keys::body(&home(), event)),
            "the body of this delivery is missing",
        ),
        (
            "nonsense for an event",
            |batch, event| _ = batch.put(keys::event(&home(), event), "nonsense"),
            "the event of this delivery cannot be read",
        ),
    ];
    for (case, damage, message) in cases {
        let bed = Bed::new().await;
        let [(event, damaged), (_, sound)] = bed.two().await;
        bed.damage(|batch| damage(batch, event)).await;
        // One at a time, so that the step which buries the first has nothing to hand out and has to look again.
        let leased = bed.lease(at(5)).await.unwrap();
        assert_eq!(leased.delivery.id, sound, "{case}");
        let dead = bed.queue.delivery(&home(), damaged).unwrap().unwrap();
        let class = FailureClass::DataQuality;
        assert_eq!(dead.state, DeliveryState::Dead { at: at(5), class }, "{case}");
        let why = dead.last_failure.unwrap();
        assert_eq!(why.code.as_deref(), Some("record-damaged"), "{case}");
        assert!(why.message.starts_with(message), "{case}: {}", why.message);
        assert_eq!(bed.queue.attempts(&home(), damaged).unwrap(), [], "{case}");
        assert_eq!(bed.depth(), [0, 1, 1, 0], "{case}");
    }
}

#[tokio::test]
async fn a_delivery_can_be_replayed_once_its_records_are_restored() {
    let bed = Bed::new().await;
    let [(event, damaged), _] = bed.two().await;
    bed.damage(|batch| _ = batch.delete(keys::body(&home(), event))).await;
    bed.queue.lease_many(&home(), &sink(), terms(at(5), 2)).await.unwrap();
    bed.damage(|batch| _ = batch.put(keys::body(&home(), event), "{}"))
        .await;
    bed.queue.replay(&home(), damaged, at(6), "anna").await.unwrap();
    assert_eq!(bed.lease(at(6)).await.unwrap().delivery.id, damaged);
}

#[tokio::test]
async fn due_entries_that_no_delivery_stands_behind_are_removed_and_counted_no_more() {
    let bed = Bed::new().await;
    let [_, (_, sound)] = bed.two().await;
    let first = bed.lease(at(0)).await.unwrap();
    let lie = |delivery| entry(delivery, at(0)).key(LaneIndex::Due);
    let in_flight = lie(first.delivery.id);
    let unheard_of = lie(DeliveryId::from_bytes([7; 16]));
    let unreadable = LaneIndex::Due.of(&home(), &sink()).u32(0);
    let lies: [Key; 3] = [in_flight, unheard_of, unreadable];
    bed.damage(|batch| {
        for key in &lies {
            batch.put(key.clone(), "");
        }
    })
    .await;
    let bed = bed.reopened(at(2)).await;
    assert_eq!(bed.depth(), [4, 0, 0, 0], "the readable lies are counted");
    let leased = bed.queue.lease_many(&home(), &sink(), terms(at(2), 9)).await.unwrap();
    let mut ids: Vec<_> = leased.iter().map(|leased| leased.delivery.id).collect();
    let mut expected = vec![first.delivery.id, sound];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for key in lies {
        assert_eq!(bed.queue.store.get(key).unwrap(), None);
    }
    assert_eq!(bed.depth(), [0, 2, 0, 0]);
    assert_eq!(bed.queue.next_due(&home(), &sink()).await.unwrap(), None);
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_is_taken_off_its_lane_and_its_record_kept() {
    let bed = Bed::new().await;
    let [(_, damaged), (_, sound)] = bed.two().await;
    let record = keys::delivery(&home(), damaged);
    bed.damage(|batch| _ = batch.put(record.clone(), b"\x01nonsense")).await;
    assert_eq!(bed.lease(at(5)).await.unwrap().delivery.id, sound);
    assert_eq!(bed.depth(), [0, 1, 0, 0]);
    assert_eq!(
        bed.queue.store.get(record).unwrap().as_deref(),
        Some(&b"\x01nonsense"[..])
    );
}

#[tokio::test]
async fn a_delivery_that_a_later_version_has_written_stops_its_lane_and_stays_in_it() {
    let bed = Bed::new().await;
    let [(_, later), _] = bed.two().await;
    bed.damage(|batch| _ = batch.put(keys::delivery(&home(), later), b"\x02later"))
        .await;
    assert!(bed.queue.lease(&home(), &sink(), terms(at(5), 1)).await.is_err());
    assert_eq!(bed.queue.next_due(&home(), &sink()).await.unwrap(), Some(at(0)));
}

#[tokio::test]
async fn one_lanes_damage_keeps_no_other_lanes_leases_from_running_out() {
    let bed = Bed::new().await;
    let others: Vec<ConnectionName> = ["a", "b", "c", "d"].map(|name| name.parse().unwrap()).into();
    let mut request = owed(b"{}", None, at(0));
    request.fan_out = others
        .iter()
        .map(|name| Owed::deliver(name.clone(), Duration::ZERO))
        .collect();
    let ids = bed.accept(request, at(0)).await.deliveries;
    for name in &others {
        bed.queue.lease(&home(), name, terms(at(0), 1)).await.unwrap().unwrap();
    }
    // The first can never be read by this version; of the second only the lease's entry is left.
    bed.damage(|batch| {
        batch.put(keys::delivery(&home(), ids[0]), b"\x02later");
        batch.put(keys::delivery(&home(), ids[1]), b"\x01nonsense");
    })
    .await;
    let past = at(1).after(LEASE);
    assert_eq!(bed.queue.expire_leases(past).await.unwrap(), 2);
    let in_flight: Vec<_> = others
        .iter()
        .map(|name| bed.queue.depth(&home(), name).in_flight)
        .collect();
    assert_eq!(in_flight, [1, 0, 0, 0]);
}
