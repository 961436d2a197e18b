use cofferdam_domain::CorrelationId;

use super::*;
use crate::{DeliveryFilter, Standing};

#[tokio::test]
async fn events_are_found_by_correlation_and_newest_first() {
    let bed = Bed::new().await;
    let correlation: CorrelationId = "one-thing".parse().unwrap();
    let mut expected = Vec::new();
    for ms in 0..3 {
        let mut request = owed(b"{}", None, at(ms));
        request.new.event.correlation_id = correlation.clone();
        expected.push(bed.accept(request, at(ms)).await.event_id);
    }
    let mut similar = owed(b"{}", None, at(3));
    similar.new.event.correlation_id = "one-thing-else".parse().unwrap();
    let last = bed.accept(similar, at(3)).await.event_id;
    let ids = |events: Vec<cofferdam_domain::Event>| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(
        ids(bed.queue.events_by_correlation(&home(), &correlation, 9).unwrap()),
        expected
    );
    assert_eq!(
        ids(bed.queue.events_by_correlation(&home(), &correlation, 2).unwrap()),
        expected[..2]
    );
    assert_eq!(
        ids(bed.queue.recent_events(&home(), 2, None).unwrap()),
        [last, expected[2]]
    );
    assert_eq!(
        ids(bed.queue.recent_events(&home(), 9, Some(expected[2])).unwrap()),
        [expected[1], expected[0]]
    );
}

#[tokio::test]
async fn deliveries_are_found_by_standing_and_connection_page_by_page() {
    let bed = Bed::new().await;
    let mut expected = Vec::new();
    for ms in 0..5 {
        expected.insert(0, bed.accept(owed(b"{}", None, at(ms)), at(ms)).await.deliveries[0]);
    }
    let leased = bed.lease(at(0)).await.unwrap().delivery.id;
    let page = |standing, connection: Option<&str>, limit, before| {
        let filter = DeliveryFilter {
            connection: connection.map(|name| name.parse().unwrap()),
            standing,
        };
        let page = bed.queue.deliveries(&home(), &filter, limit, before).unwrap();
        (
            page.items.iter().map(|delivery| delivery.id).collect::<Vec<_>>(),
            page.next,
        )
    };
    assert_eq!(page(None, None, 9, None), (expected.clone(), None));
    assert_eq!(page(Some(Standing::InFlight), None, 9, None).0, [leased]);
    assert_eq!(page(Some(Standing::Pending), Some("sink"), 9, None).0, expected[..4]);
    assert_eq!(page(None, Some("other"), 9, None).0, []);
    let (first, next) = page(None, None, 2, None);
    assert_eq!(first, expected[..2]);
    assert_eq!(page(None, None, 9, next), (expected[2..].to_vec(), None));
}
