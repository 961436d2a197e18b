//! What an answer says about its sender's limits.
//!
//! Read are `Retry-After` (RFC 9110 section 10.2.3); `RateLimit` as the drafts of the IETF's httpapi group have had it, a
//! list (`"default";r=0;t=30`, draft 08 and later) or a dictionary (`limit=10, remaining=0, reset=30`, draft 07); the single
//! headers of its earlier drafts (`RateLimit-Remaining`, `RateLimit-Reset`); and what providers had before and have still
//! (`X-RateLimit-…`, `X-Rate-Limit-…`). `RateLimit-Policy` says how things are counted and not how they stand, so it is not
//! needed. What is malformed is ignored, as the drafts ask.
//!
//! A reset is a number of seconds by the drafts, and with many providers, GitHub among them
//! (<https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>), a time in seconds, or with some in
//! milliseconds, since 1970. The two cannot be confused: 1,000,000,000 seconds are 31 years. A time is compared with the
//! answer's own `Date`, so that a difference of clocks makes no wait too short.

use std::time::{Duration, SystemTime};

use cofferdam_domain::Timestamp;
use cofferdam_domain::budget::{Heard, HoldReason};
use cofferdam_domain::retry::RATE_LIMIT_WAIT;
use http::HeaderMap;
use sfv::{BareItem, Dictionary, FieldType, Item, List, ListEntry, Parameters, Parser};

use crate::exchange::GuestResponse;

/// Numbers from here on are times since 1970, in seconds and in milliseconds.
const EPOCH_SECONDS_MIN: f64 = 1e9;
const EPOCH_MILLIS_MIN: f64 = 1e12;

/// Longest header value that is looked at, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Pairs of headers with what is left and when it is full again, in the order in which they are looked for. The third is
/// Discord's, which says the wait exactly.
const SINGLE: [(&str, &[&str]); 3] = [
    ("ratelimit-remaining", &["ratelimit-reset"]),
    (
        "x-ratelimit-remaining",
        &["x-ratelimit-reset-after", "x-ratelimit-reset"],
    ),
    ("x-rate-limit-remaining", &["x-rate-limit-reset"]),
];

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feedback {
    /// For the budget.
    pub heard: Heard,
    /// How long the sender asks to wait with this request, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// A limit as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left {
    remaining: f64,
    resets_in: Option<Duration>,
}

impl Left {
    fn is_spent(&self) -> bool {
        self.remaining < 1.0
    }
}

/// The headers of an answer, names in lower case. They have been cleaned: a secret that was reflected as a number is none any
/// more, and does not get into what is shown of a budget.
pub(super) type Headers = [(String, Vec<u8>)];

/// Reads an answer that came at `wall`.
///
/// 429 and 503 refuse, and so does 403 where it comes with a wait or with nothing left: that is how GitHub refuses. Any other
/// answer that says that nothing is left holds the next request and not this one.
pub(super) fn read(status: u16, headers: &Headers, wall: Timestamp) -> Feedback {
    let theirs = date(headers, "date").unwrap_or(wall);
    let left = left(headers, theirs);
    // Where several limits are told, the one that takes longest to be free again counts.
    let spent = left.iter().filter(|left| left.is_spent());
    let spent = spent.filter_map(|left| left.resets_in).max();
    let shortest = left.iter().min_by(|one, two| one.remaining.total_cmp(&two.remaining));
    let retry_after = retry_after(headers, theirs);
    let asked = retry_after.or(spent);
    let hold = match status {
        429 => Some((asked.unwrap_or(RATE_LIMIT_WAIT), HoldReason::Refused)),
        503 => retry_after
            .map(|wait| (wait, HoldReason::Refused))
            .or(spent.map(|wait| (wait, HoldReason::Spent))),
        403 => asked.map(|wait| (wait, HoldReason::Spent)),
        _ => spent.map(|wait| (wait, HoldReason::Spent)),
    };
    let refused = matches!(status, 403 | 429 | 503);
    Feedback {
        heard: Heard {
            hold,
            remaining: shortest.map(|left| whole(left.remaining)),
            resets_in: shortest.and_then(|left| left.resets_in),
        },
        retry_after_ms: if refused { asked } else { retry_after }.map(millis),
    }
}

/// How long a cleaned answer that no budget hears of asks to wait, in milliseconds.
pub(crate) fn asked_ms(response: &GuestResponse, wall: Timestamp) -> Option<u64> {
    read(response.status, &response.headers, wall).retry_after_ms
}

/// The same of a token endpoint's answer.
pub(crate) fn retry_after_ms(headers: &HeaderMap, wall: Timestamp) -> Option<u64> {
    let told = ["date", "retry-after"].map(|name| Some((name.to_owned(), headers.get(name)?.as_bytes().to_vec())));
    let told: Vec<_> = told.into_iter().flatten().collect();
    retry_after(&told, date(&told, "date").unwrap_or(wall)).map(millis)
}

/// What `Retry-After` asks for: seconds, or a date. What is neither counts as absent.
fn retry_after(headers: &Headers, theirs: Timestamp) -> Option<Duration> {
    let text = text(headers, "retry-after")?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    date(headers, "retry-after").map(|date| date.since(theirs))
}

fn left(headers: &Headers, theirs: Timestamp) -> Vec<Left> {
    let structured = structured(headers);
    if !structured.is_empty() {
        return structured;
    }
    let single = SINGLE.iter().find_map(|(remaining, resets)| {
        let remaining = number(text(headers, remaining)?)?;
        let reset = resets.iter().find_map(|name| number(text(headers, name)?));
        Some(Left {
            remaining,
            resets_in: reset.and_then(|reset| until(reset, theirs)),
        })
    });
    single.into_iter().collect()
}

/// The `RateLimit` field in either of its structured forms; empty if it is neither.
fn structured(headers: &Headers) -> Vec<Left> {
    let lines = headers.iter().filter(|(name, _)| name == "ratelimit");
    let Some(field) = lines
        .map(|(_, line)| std::str::from_utf8(line).ok())
        .collect::<Option<Vec<_>>>()
        .map(|lines| lines.join(", "))
        .filter(|field| !field.is_empty() && field.len() <= VALUE_BYTES_MAX)
    else {
        return Vec::new();
    };
    if let Some(list) = parsed::<List>(&field) {
        return list.iter().filter_map(of_list).collect();
    }
    let Some(dictionary) = parsed::<Dictionary>(&field) else {
        return Vec::new();
    };
    let member = |name: &str| match dictionary.get(name)? {
        ListEntry::Item(item) => seconds(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    let left = member("remaining").map(|remaining| Left {
        remaining: remaining.as_secs_f64(),
        resets_in: member("reset"),
    });
    left.into_iter().collect()
}

fn parsed<T: FieldType>(field: &str) -> Option<T> {
    Parser::new(field).parse().ok()
}

fn of_list(member: &ListEntry) -> Option<Left> {
    let ListEntry::Item(Item { params, .. }) = member else {
        return None;
    };
    let parameter = |params: &Parameters, name: &str| params.get(name).and_then(seconds);
    Some(Left {
        remaining: parameter(params, "r")?.as_secs_f64(),
        resets_in: parameter(params, "t"),
    })
}

/// A number that is not negative, as a duration: every one here is counted or measured in whole units.
fn seconds(item: &BareItem) -> Option<Duration> {
    match item {
        BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok().map(Duration::from_secs),
        _ => None,
    }
}

/// A reset as a wait, whichever way it is written.
fn until(reset: f64, theirs: Timestamp) -> Option<Duration> {
    let at = if reset >= EPOCH_MILLIS_MIN {
        Timestamp::ZERO.after(Duration::try_from_secs_f64(reset / 1000.0).ok()?)
    } else if reset >= EPOCH_SECONDS_MIN {
        Timestamp::ZERO.after(Duration::try_from_secs_f64(reset).ok()?)
    } else {
        return Duration::try_from_secs_f64(reset).ok();
    };
    Some(at.since(theirs))
}

/// Digits, and a fraction if there is one: `12`, `0.5`. Nothing else that Rust takes for a number.
fn number(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| text.parse().ok()).flatten()
}

fn text<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(given, _)| given == name)?;
    let text = std::str::from_utf8(value).ok()?;
    (text.len() <= VALUE_BYTES_MAX).then(|| text.trim())
}

fn date(headers: &Headers, name: &str) -> Option<Timestamp> {
    let date: SystemTime = httpdate::parse_http_date(text(headers, name)?).ok()?;
    Some(Timestamp::from_system(date))
}

fn whole(number: f64) -> u64 {
    Duration::try_from_secs_f64(number).map_or(u64::MAX, |whole| whole.as_secs())
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
