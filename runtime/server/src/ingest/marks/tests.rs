use super::*;
use crate::config::Config;

fn limits() -> Limits {
    Limits {
        pending: 1000,
        pending_bytes: 100_000,
        pending_per_connection: 100,
        pending_bytes_per_connection: 10_000,
        pending_age_ms_per_connection: 60_000,
        headroom_percent: 10,
        ..Config::default().limits
    }
}

fn standing(pending: u64, pending_bytes: u64, lag_ms: u64) -> LaneStanding {
    LaneStanding {
        depth: Depth {
            pending,
            pending_bytes,
            ..Depth::default()
        },
        lag: Duration::from_millis(lag_ms),
    }
}

fn incoming(count: u64, bytes: u64) -> Incoming {
    Incoming { count, bytes }
}

#[test]
fn each_mark_of_a_lane_is_met_just_above_it_and_not_at_it() {
    let check = |door, standing: LaneStanding, coming: Incoming, expected: Option<Mark>| {
        let met = lane(&limits(), &Policy::default(), door, &standing, coming);
        assert_eq!(met.map(|met| met.mark), expected, "{door:?} {standing:?} {coming:?}");
    };
    check(Door::Hook, standing(99, 1, 0), incoming(1, 1), None);
    check(
        Door::Hook,
        standing(100, 1, 0),
        incoming(1, 1),
        Some(Mark::LaneFullCount),
    );
    check(
        Door::Hook,
        standing(90, 1, 0),
        incoming(11, 1),
        Some(Mark::LaneFullCount),
    );
    check(Door::Hook, standing(1, 9_000, 0), incoming(1, 1_000), None);
    check(
        Door::Hook,
        standing(1, 9_000, 0),
        incoming(1, 1_001),
        Some(Mark::LaneFullBytes),
    );
    check(Door::Hook, standing(1, 1, 60_000), incoming(1, 1), None);
    check(
        Door::Hook,
        standing(1, 1, 60_001),
        incoming(1, 1),
        Some(Mark::LaneTooOld),
    );
    // Producers that come back leave the head-room free.
    check(Door::Api, standing(89, 1, 0), incoming(1, 1), None);
    check(Door::Api, standing(90, 1, 0), incoming(1, 1), Some(Mark::LaneFullCount));
    check(Door::Api, standing(1, 8_000, 0), incoming(1, 1_000), None);
    check(
        Door::Api,
        standing(1, 8_000, 0),
        incoming(1, 1_001),
        Some(Mark::LaneFullBytes),
    );
    check(Door::Api, standing(1, 1, 54_000), incoming(1, 1), None);
    check(
        Door::Api,
        standing(1, 1, 54_001),
        incoming(1, 1),
        Some(Mark::LaneTooOld),
    );
    // Nothing waits: one request is taken, whatever its size.
    check(Door::Api, standing(0, 0, 0), incoming(64, 1_000_000), None);
}

#[test]
fn the_marks_of_the_server_are_met_just_above_them() {
    let check = |door, waiting: Incoming, coming: Incoming, expected: Option<Mark>| {
        let met = server(&limits(), door, waiting, coming);
        assert_eq!(met.map(|met| met.mark), expected, "{door:?} {waiting:?}");
    };
    check(Door::Hook, incoming(999, 1), incoming(1, 1), None);
    check(
        Door::Hook,
        incoming(1000, 1),
        incoming(1, 1),
        Some(Mark::ServerFullCount),
    );
    check(Door::Hook, incoming(1, 99_999), incoming(1, 1), None);
    check(
        Door::Hook,
        incoming(1, 99_999),
        incoming(1, 2),
        Some(Mark::ServerFullBytes),
    );
    check(Door::Api, incoming(899, 1), incoming(1, 1), None);
    check(Door::Api, incoming(900, 1), incoming(1, 1), Some(Mark::ServerFullCount));
    // An event that nobody is owed passes no mark of deliveries.
    check(Door::Api, incoming(5000, 500_000), incoming(0, 0), None);
}

#[test]
fn a_connection_has_its_own_marks_and_an_age_of_zero_is_none() {
    let own = Policy {
        pending_max: Some(5),
        pending_bytes_max: Some(50),
        pending_age_max_ms: Some(500),
        ..Policy::default()
    };
    let met =
        |standing: LaneStanding| lane(&limits(), &own, Door::Hook, &standing, incoming(1, 10)).map(|met| met.mark);
    assert_eq!(met(standing(4, 40, 500)), None);
    assert_eq!(met(standing(5, 40, 500)), Some(Mark::LaneFullCount));
    assert_eq!(met(standing(4, 41, 500)), Some(Mark::LaneFullBytes));
    assert_eq!(met(standing(4, 40, 501)), Some(Mark::LaneTooOld));
    let ageless = Limits {
        pending_age_ms_per_connection: 0,
        ..limits()
    };
    let old = standing(1, 1, u64::MAX);
    assert_eq!(
        lane(&ageless, &Policy::default(), Door::Api, &old, incoming(1, 1)),
        None
    );
}

#[test]
fn the_wait_is_what_the_lane_needs_to_make_room_within_bounds() {
    let check = |leave: u64, rate: Option<f64>, expected_s: u64| {
        assert_eq!(
            wait_for(leave, rate),
            Duration::from_secs(expected_s),
            "{leave} at {rate:?}"
        );
    };
    check(100, Some(10.0), 10);
    check(101, Some(10.0), 11);
    check(1, Some(1000.0), 1);
    check(1_000_000, Some(1.0), 300);
    check(5, None, 10);
    check(5, Some(0.0), 10);
    check(5, Some(f64::NAN), 10);
    check(u64::MAX, Some(f64::MIN_POSITIVE), 300);
    let full = standing(109, 1, 0);
    let met = lane(&limits(), &Policy::default(), Door::Hook, &full, incoming(1, 1)).unwrap();
    assert_eq!(met.wait(Some(2.0)), Duration::from_secs(5));
    let met = server(&limits(), Door::Hook, incoming(5000, 1), incoming(1, 1)).unwrap();
    assert_eq!(met.wait(Some(2.0)), WAIT_DEFAULT);
    assert_eq!(over(100, 1, 100), 1);
    assert_eq!(over(200_000, 1, 200_000), 2_000);
}
