use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Without jitter unless the grant says so.
fn schedule(grant: &serde_json::Value) -> Schedule {
    let mut grant: PollGrant = serde_json::from_value(grant.clone()).unwrap();
    assert_eq!(problems(&grant, at("2026-01-01T00:00:00Z")), Vec::<String>::new());
    grant.jitter = grant.jitter.or(Some("0s".parse().unwrap()));
    Schedule::new(&grant, None, "default\nfeed".into()).unwrap()
}

/// The ticks behind a time, one after the other.
fn check_ticks(grant: &serde_json::Value, from: &str, expected: &[&str]) {
    let schedule = schedule(grant);
    let mut time = at(from);
    for expected in expected {
        time = schedule.tick_after(time).unwrap().at;
        assert_eq!(time, at(expected), "{grant} behind {from}");
    }
}

/// What is next for a schedule that began at midnight, whose last tick was `last`, and that could be polled since
/// `free_since`.
fn check_next(grant: &serde_json::Value, [last, free_since, now]: [&str; 3], expected: Result<(&str, bool), &str>) {
    let day = |time: &str| at(&format!("2026-03-02T{time}Z"));
    let past = Past {
        since: day("00:00:00"),
        last: (!last.is_empty()).then(|| day(last)),
        free_since: day(free_since),
        changed: Timestamp::ZERO,
    };
    let expected = match expected {
        Ok((tick, missed)) => Next::Run {
            tick: day(tick),
            missed,
        },
        Err(due) => Next::Wait(day(due)),
    };
    let next = schedule(grant).next(past, day(now)).unwrap();
    assert_eq!(
        next, expected,
        "{grant}: last {last}, free since {free_since}, now {now}"
    );
}

#[test]
fn cron_goes_by_the_clocks_of_its_time_zone_through_the_hour_that_is_left_out() {
    let berlin = |cron: &str| serde_json::json!({ "cron": cron, "timezone": "Europe/Berlin" });
    // 2026-03-29: 02:00 becomes 03:00 (+02:00).
    check_ticks(
        &berlin("30 2 * * *"),
        "2026-03-28T00:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
    );
    check_ticks(
        &berlin("*/30 * * * *"),
        "2026-03-29T00:15:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    );
    check_ticks(
        &berlin("0 9 * * *"),
        "2026-03-28T00:00:00Z",
        &["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"],
    );
}

#[test]
fn cron_goes_by_the_clocks_of_its_time_zone_through_the_hour_that_comes_twice() {
    let berlin = |cron: &str| serde_json::json!({ "cron": cron, "timezone": "Europe/Berlin" });
    // 2026-10-25: 03:00 (+02:00) becomes 02:00 (+01:00).
    check_ticks(
        &berlin("30 2 * * *"),
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"],
    );
    check_ticks(
        &berlin("0 9 * * *"),
        "2026-10-24T00:00:00Z",
        &["2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"],
    );
    // A zone that changes its clocks at midnight, and one by half an hour.
    check_ticks(
        &serde_json::json!({ "cron": "0 0 * * *", "timezone": "Africa/Cairo" }),
        "2026-04-22T12:00:00Z",
        &["2026-04-22T22:00:00Z", "2026-04-24T21:00:00Z"],
    );
    check_ticks(
        &serde_json::json!({ "cron": "45 1 * * *", "timezone": "Australia/Lord_Howe" }),
        "2026-04-03T20:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z", "2026-04-05T15:15:00Z"],
    );
}

#[test]
fn cron_knows_how_long_months_are() {
    let cron = |cron: &str| serde_json::json!({ "cron": cron });
    check_ticks(
        &cron("0 0 31 * *"),
        "2026-01-31T00:00:00Z",
        &["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
    );
    check_ticks(&cron("0 0 29 2 *"), "2024-03-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    check_ticks(
        &cron("59 23 31 12 *"),
        "2026-12-31T23:58:59Z",
        &["2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"],
    );
}

/// Why `L` is refused; once the library finds it in December too, the refusal can go.
#[test]
fn the_library_finds_no_last_day_in_december() {
    for (cron, last) in [("0 0 L * * UTC", 31), ("0 0 * * 4L UTC", 31)] {
        let crontab = cronexpr::parse_crontab(cron).unwrap();
        let next = cron_after(&crontab, at("2026-12-01T00:00:00Z")).unwrap();
        assert!(next > at(&format!("2026-12-{last}T00:00:00Z")), "{cron}: {next}");
    }
    // Its name for July is no L.
    check_ticks(
        &serde_json::json!({ "cron": "0 0 1 JUL *" }),
        "2026-01-01T00:00:00Z",
        &["2026-07-01T00:00:00Z"],
    );
    // What is written instead.
    check_ticks(
        &serde_json::json!({ "cron": "0 0 * * 5#4" }),
        "2026-12-01T00:00:00Z",
        &["2026-12-25T00:00:00Z"],
    );
}

#[test]
fn an_interval_is_polled_at_once_and_then_so_much_after_the_last_tick() {
    let every = serde_json::json!({ "every": "10m" });
    check_next(&every, ["", "00:00:00", "00:00:00"], Ok(("00:00:00", false)));
    check_next(&every, ["08:00:00", "07:00:00", "08:00:01"], Err("08:10:00"));
    check_next(&every, ["08:00:00", "07:00:00", "08:10:00"], Ok(("08:10:00", false)));
    // Looked at late, but free all the time: the latest tick stands for the one before.
    check_next(&every, ["08:00:00", "07:00:00", "08:25:00"], Ok(("08:20:00", true)));
}

#[test]
fn what_was_missed_is_run_once_or_skipped() {
    let once = serde_json::json!({ "every": "10m" });
    let skip = serde_json::json!({ "every": "10m", "missed": "skip" });
    // Down from 08:05 to 11:03.
    let down = ["08:00:00", "11:03:00", "11:03:00"];
    check_next(&once, down, Ok(("11:00:00", true)));
    check_next(&skip, down, Err("11:10:00"));
    // The next one is in its time again, either way, and in the same rhythm.
    check_next(&once, ["11:00:00", "11:03:00", "11:10:00"], Ok(("11:10:00", false)));
    check_next(&skip, ["08:00:00", "11:03:00", "11:10:00"], Ok(("11:10:00", true)));
    // On the very tick it is free again: that one is not missed.
    check_next(&skip, ["08:00:00", "08:10:00", "08:10:00"], Ok(("08:10:00", false)));
    check_next(&skip, ["08:00:00", "08:10:01", "08:10:01"], Err("08:20:00"));

    let once = serde_json::json!({ "cron": "0 * * * *" });
    let skip = serde_json::json!({ "cron": "0 * * * *", "missed": "skip" });
    let down = ["08:00:00", "14:20:00", "14:20:00"];
    check_next(&once, down, Ok(("14:00:00", true)));
    check_next(&skip, down, Err("15:00:00"));
    check_next(&once, ["", "00:00:00", "00:30:00"], Err("01:00:00"));
    check_next(&once, ["08:00:00", "07:00:00", "09:00:00"], Ok(("09:00:00", false)));
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_schedule() {
    let every = serde_json::json!({ "every": "10m" });
    let cron = serde_json::json!({ "cron": "0 * * * *" });
    check_next(&every, ["23:00:00", "08:00:00", "08:00:00"], Err("08:10:00"));
    check_next(&cron, ["23:00:00", "08:00:00", "08:00:00"], Err("09:00:00"));
    // As seen since a time that has not come yet.
    let past = Past {
        since: at("2027-01-01T00:00:00Z"),
        last: None,
        free_since: at("2026-03-02T08:00:00Z"),
        changed: Timestamp::ZERO,
    };
    let now = at("2026-03-02T08:00:00Z");
    let next = schedule(&every).next(past, now).unwrap();
    assert_eq!(
        next,
        Next::Run {
            tick: now,
            missed: false
        }
    );
}

#[test]
fn a_clock_that_jumps_ahead_by_years_makes_one_poll_and_takes_no_time_to_say_so() {
    let past = Past {
        since: at("2026-01-01T00:00:00Z"),
        last: Some(at("2026-01-01T00:00:00Z")),
        free_since: at("2026-01-01T00:00:00Z"),
        changed: Timestamp::ZERO,
    };
    let now = at("2056-06-15T10:20:30Z");
    for (grant, latest) in [
        (serde_json::json!({ "every": "1s" }), "2056-06-15T10:20:30Z"),
        (serde_json::json!({ "cron": "* * * * *" }), "2056-06-15T10:20:00Z"),
        (serde_json::json!({ "cron": "0 0 29 2 *" }), "2056-02-29T00:00:00Z"),
        (serde_json::json!({ "cron": "* 3 * * 1" }), "2056-06-12T03:59:00Z"),
    ] {
        let began = std::time::Instant::now();
        let next = schedule(&grant).next(past, now).unwrap();
        let tick = at(latest);
        assert_eq!(next, Next::Run { tick, missed: true }, "{grant}");
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{grant}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn jitter_is_the_same_after_a_restart_differs_between_connections_and_stays_in_its_bounds() {
    let grant = |jitter: Option<&str>| PollGrant {
        every: Some("5m".parse().unwrap()),
        jitter: jitter.map(|jitter| jitter.parse().unwrap()),
        ..PollGrant::default()
    };
    let lates = |jitter, seed: &str| -> Vec<u128> {
        let schedule = Schedule::new(&grant(jitter), None, seed.into()).unwrap();
        let ticks = (0..200).map(|n| schedule.tick_after(Timestamp::from_millis(n * 300_000)).unwrap());
        ticks.map(|tick| tick.due.since(tick.at).as_millis()).collect()
    };
    let (one, other) = (lates(None, "w\na"), lates(None, "w\nb"));
    assert_eq!(one, lates(None, "w\na"));
    assert_ne!(one, other);
    // A tenth of five minutes, spread over all of it.
    assert!(one.iter().all(|late| *late <= 30_000));
    assert!(one.iter().any(|late| *late < 3_000) && one.iter().any(|late| *late > 27_000));
    assert!(lates(Some("0s"), "w\na").iter().all(|late| *late == 0));
    assert!(lates(Some("150s"), "w\na").iter().any(|late| *late > 100_000));
    // Of a day it is a minute, not a tenth.
    let daily = Schedule::new(
        &PollGrant {
            cron: Some("0 0 * * *".into()),
            ..PollGrant::default()
        },
        None,
        "w\na".into(),
    )
    .unwrap();
    let mut time = Timestamp::ZERO;
    for _ in 0..50 {
        let tick = daily.tick_after(time).unwrap();
        assert!(tick.due.since(tick.at) <= Duration::from_secs(60));
        time = tick.at;
    }
}

#[test]
fn a_tick_that_its_jitter_still_holds_back_is_not_taken_for_the_latest() {
    let schedule = schedule(&serde_json::json!({ "every": "10s", "jitter": "5s" }));
    let last = at("2026-03-02T08:00:00Z");
    for seconds in 1..600u64 {
        let now = last.after(Duration::from_secs(seconds));
        let past = Past {
            since: last,
            last: Some(last),
            free_since: last,
            changed: Timestamp::ZERO,
        };
        match schedule.next(past, now).unwrap() {
            Next::Run { tick, .. } => {
                let found = schedule
                    .tick_after(Timestamp::from_millis(tick.as_millis() - 10_000))
                    .unwrap();
                assert!(found.due <= now, "at {seconds} s");
                assert!(
                    schedule.tick_after(tick).unwrap().due > now,
                    "at {seconds} s there is a later one"
                );
            }
            Next::Wait(due) => assert!(due > now && seconds < 15, "at {seconds} s"),
        }
    }
}

#[test]
fn without_a_schedule_the_connectors_wish_counts_and_without_one_it_is_said_what_to_write() {
    let none = PollGrant::default();
    let wished = Schedule::new(&none, Some(60), "s".into()).unwrap();
    assert_eq!(
        wished.tick_after(Timestamp::ZERO).unwrap().at,
        Timestamp::from_millis(60_000)
    );
    // A wish for no time at all is the least there is.
    let wished = Schedule::new(&none, Some(0), "s".into()).unwrap();
    assert_eq!(
        wished.tick_after(Timestamp::ZERO).unwrap().at,
        Timestamp::from_millis(1_000)
    );
    let refused = Schedule::new(&none, None, "s".into()).unwrap_err().to_string();
    assert!(refused.contains("write every = \"5m\", or cron"), "{refused}");
}

#[test]
fn a_cron_expression_or_a_time_zone_that_cannot_be_used_is_blamed_for_itself() {
    let now = at("2026-01-01T00:00:00Z");
    for (cron, timezone, expected) in [
        ("* * * *", None, "poll.cron has 4 fields; it must have 5"),
        (
            "* * * * * Europe/Berlin",
            None,
            "poll.cron has 6 fields; it must have 5",
        ),
        ("61 * * * *", None, "poll.cron cannot be read"),
        ("*/0 * * * *", None, "poll.cron cannot be read"),
        ("🦀 * * * *", None, "poll.cron cannot be read"),
        (
            "0 0 L * *",
            None,
            "poll.cron has L as its day of month; L is not taken, because in December it would never come",
        ),
        ("0 0 1,L * *", None, "poll.cron has 1,L as its day of month"),
        ("0 0 * * 5L", None, "poll.cron has 5L as its day of week"),
        ("0 0 * * FRIL", None, "poll.cron has FRIL as its day of week"),
        (
            "0 0 30 2 *",
            None,
            "poll.cron names a time that does not come within four years",
        ),
        (
            "* * * * *",
            Some("Europe/Atlantis"),
            "poll.timezone is \"Europe/Atlantis\", which this machine does not know",
        ),
        ("* * * * *", Some("../../etc/passwd"), "poll.timezone is"),
        ("* * * * *", Some("UTC\n* * * * *"), "poll.timezone is"),
    ] {
        let grant = PollGrant {
            cron: Some(cron.into()),
            timezone: timezone.map(str::to_owned),
            ..PollGrant::default()
        };
        let problems = problems(&grant, now);
        assert!(
            problems.len() == 1 && problems[0].starts_with(expected),
            "{cron} {timezone:?}: {problems:?}"
        );
    }
}
