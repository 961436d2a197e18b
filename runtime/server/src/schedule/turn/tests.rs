use cofferdam_domain::WorkspaceName;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("2026-03-02T{text}Z")).unwrap()
}

fn granted(poll: &serde_json::Value, updated_at: Timestamp) -> (Connection, PollGrant) {
    let spec = serde_json::json!({"name": "feed", "connector": "feed", "poll": poll});
    let connection = Connection {
        workspace: WorkspaceName::default(),
        spec: serde_json::from_value(spec).unwrap(),
        granted: None,
        grant: cofferdam_domain::grant::Grant::default(),
        enabled: true,
        revision: 1,
        updated_at,
    };
    let grant = connection.spec.poll.clone().unwrap();
    (connection, grant)
}

/// What is next at a time, for a lane that follows this schedule and whose last tick was `last`.
fn next(turns: &mut Turns, poll: &serde_json::Value, updated_at: &str, last: &str, now: &str) -> Next {
    let (connection, mut grant) = granted(poll, at(updated_at));
    grant.jitter = grant.jitter.or(Some("0s".parse().unwrap()));
    let changed = turns.follow(&connection, &grant, at(now));
    let past = Past {
        since: at("00:00:00"),
        last: Some(at(last)),
        free_since: *turns.free_since.get_or_insert(at(now)),
        changed,
    };
    let schedule = Schedule::new(&grant, None, "default\nfeed".into()).unwrap();
    schedule.next(past, at(now)).unwrap()
}

fn run(tick: &str) -> Next {
    Next::Run {
        tick: at(tick),
        missed: false,
    }
}

#[test]
fn a_changed_schedule_runs_no_time_that_had_passed_before_it() {
    for missed in ["once", "skip"] {
        let daily = |hour: u32| serde_json::json!({"cron": format!("0 {hour} * * *"), "missed": missed});
        let mut turns = Turns::default();
        let before = next(&mut turns, &daily(8), "00:00:00", "08:00:00", "08:00:01");
        assert!(matches!(before, Next::Wait(_)), "{before:?}");
        // Noon is between the last poll and the change.
        let changed = next(&mut turns, &daily(12), "14:20:00", "08:00:00", "14:20:01");
        assert_eq!(
            changed,
            Next::Wait(at("12:00:00").after(Duration::from_secs(24 * 3600))),
            "{missed}"
        );
        // A time behind the change is in its time.
        let changed = next(&mut turns, &daily(15), "14:30:00", "08:00:00", "14:30:01");
        assert_eq!(changed, Next::Wait(at("15:00:00")), "{missed}");
        assert_eq!(
            next(&mut turns, &daily(15), "14:30:00", "08:00:00", "15:00:00"),
            run("15:00:00")
        );
    }
}

#[test]
fn a_changed_interval_is_so_much_after_the_last_poll_or_at_once_where_that_has_passed() {
    for missed in ["once", "skip"] {
        let every = |span: &str| serde_json::json!({"every": span, "missed": missed});
        let mut turns = Turns::default();
        next(&mut turns, &every("1d"), "00:00:00", "08:00:00", "08:00:01");
        let shorter = next(&mut turns, &every("10m"), "14:20:00", "08:00:00", "14:20:00");
        assert_eq!(shorter, run("14:20:00"), "{missed}");
        let longer = next(&mut turns, &every("1h"), "14:25:00", "14:20:00", "14:25:00");
        assert_eq!(longer, Next::Wait(at("15:20:00")), "{missed}");
    }
}

#[test]
fn what_changes_no_time_of_a_schedule_begins_nothing_anew() {
    let hourly = |more: serde_json::Value| {
        let mut poll = serde_json::json!({"cron": "0 * * * *"});
        poll.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        poll
    };
    let mut turns = Turns::default();
    next(
        &mut turns,
        &hourly(serde_json::json!({})),
        "00:00:00",
        "08:00:00",
        "08:00:01",
    );
    // Another change of the connection, at half past nine: what was due at nine, while it was off, is missed and not forgotten.
    turns.free_since = None;
    let jitter = hourly(serde_json::json!({"jitter": "0s", "missed": "once"}));
    assert_eq!(
        next(&mut turns, &jitter, "09:30:00", "08:00:00", "09:30:00"),
        Next::Run {
            tick: at("09:00:00"),
            missed: true
        }
    );
}

#[test]
fn people_are_shown_what_the_lane_follows_and_not_what_the_record_alone_would_say() {
    let hourly = serde_json::json!({"cron": "0 * * * *"});
    let (mut lane, followed) = (Turns::default(), Followed::default());
    next(&mut lane, &hourly, "00:00:00", "08:00:00", "08:00:01");
    // It was off at nine, and another change of it was made at half past.
    lane.free_since = None;
    followed.tell(&lane);
    let missed = Next::Run {
        tick: at("09:00:00"),
        missed: true,
    };
    let shown = next(&mut followed.turns(), &hourly, "09:30:00", "08:00:00", "09:30:01");
    assert_eq!(shown, missed);
    assert_eq!(next(&mut lane, &hourly, "09:30:00", "08:00:00", "09:30:01"), missed);
    // A schedule that the lane has not looked at yet begins anew at its next look.
    let daily = serde_json::json!({"cron": "0 9 * * *"});
    let shown = next(&mut followed.turns(), &daily, "09:40:00", "08:00:00", "09:40:01");
    assert!(matches!(shown, Next::Wait(_)), "{shown:?}");
    // A lane that never looked is one that has just begun.
    let shown = next(
        &mut Followed::default().turns(),
        &hourly,
        "09:30:00",
        "08:00:00",
        "09:30:01",
    );
    assert_eq!(shown, Next::Wait(at("10:00:00")));
}

#[test]
fn a_lane_that_has_just_begun_takes_no_time_of_cron_from_before_the_latest_change() {
    let noon = serde_json::json!({"cron": "0 12 * * *"});
    let begun = next(&mut Turns::default(), &noon, "14:20:00", "08:00:00", "15:00:00");
    assert!(matches!(begun, Next::Wait(_)), "{begun:?}");
    // Behind the change it is missed, as before.
    let begun = next(&mut Turns::default(), &noon, "11:00:00", "08:00:00", "15:00:00");
    assert_eq!(
        begun,
        Next::Run {
            tick: at("12:00:00"),
            missed: true
        }
    );
    // An interval keeps its rhythm beside every change.
    let every = serde_json::json!({"every": "1h"});
    let begun = next(&mut Turns::default(), &every, "14:20:00", "08:00:00", "15:30:00");
    assert_eq!(
        begun,
        Next::Run {
            tick: at("15:00:00"),
            missed: true
        }
    );
}

#[test]
fn a_schedule_that_was_taken_away_and_comes_again_begins_anew() {
    let every = serde_json::json!({"every": "1h", "missed": "skip"});
    let mut turns = Turns {
        free_since: None,
        seen: Seen::Nothing,
    };
    assert_eq!(
        next(&mut turns, &every, "14:20:00", "08:00:00", "14:20:00"),
        run("14:20:00")
    );
}
