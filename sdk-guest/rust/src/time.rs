//! Between RFC 3339 text and the contract's timestamps. A connector has no clock, and a whole calendar library would be most of
//! its size; this is the little that APIs need.

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// 9999-12-31T23:59:59.999Z, the last instant that four digits of a year can say.
const LAST_MS: u64 = 253_402_300_799_999;

/// The instant of an [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6) text, in milliseconds since the Unix epoch:
/// `2019-05-15T15:20:18Z`, `2019-05-15 17:20:18.250+02:00`. None for anything else, and for what was before 1970. Digits beyond
/// milliseconds are dropped; a leap second counts as the second before it.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, b':', [2, 2, 2])?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let (millis, zone) = fraction(rest)?;
    let local_ms = (hour * 3600 + minute * 60 + second.min(59)) * 1000 + millis;
    let local_ms = i64::try_from(local_ms).ok()?;
    let day_ms = days_since_epoch(year, month, day).checked_mul(i64::try_from(DAY_MS).ok()?)?;
    u64::try_from(day_ms + local_ms - offset_ms(zone)?).ok()
}

/// The instant as RFC 3339 text in UTC, with milliseconds unless they are zero. None beyond the year 9999.
#[must_use]
pub fn format_rfc3339(time_ms: u64) -> Option<String> {
    if time_ms > LAST_MS {
        return None;
    }
    let (year, month, day) = date_of_day(time_ms / DAY_MS);
    let in_day = time_ms % DAY_MS;
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    let clock = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    Some(match in_day % 1000 {
        0 => format!("{clock}Z"),
        millis => format!("{clock}.{millis:03}Z"),
    })
}

/// Three numbers of so many digits each, with a separator between them.
fn numbers(text: &str, separator: u8, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(char::from(separator));
    let mut out = [0; 3];
    for (number, digits) in out.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = digits_of(part)?;
    }
    parts.next().is_none().then_some(out)
}

/// Digits and nothing else: `parse` alone would take a sign too.
fn digits_of(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

/// Milliseconds, and what follows them.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(digits) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = digits.split_at(end);
    let millis = digits.get(..3).map_or_else(|| format!("{digits:0<3}"), str::to_owned);
    if digits.is_empty() {
        return None;
    }
    Some((digits_of(&millis)?, rest))
}

/// `Z`, `+02:00`: what local time is ahead of UTC.
fn offset_ms(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let (sign, clock) = match zone.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let (hour, minute) = clock.split_once(':')?;
    let two = |text: &str| digits_of(text).filter(|_| text.len() == 2);
    let (hour, minute) = (two(hour)?, two(minute)?);
    if hour > 23 || minute > 59 {
        return None;
    }
    Some(sign * i64::try_from((hour * 60 + minute) * 60_000).ok()?)
}

fn days_of_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `days_from_civil` of <https://howardhinnant.github.io/date_algorithms.html>: years start in March there, so that the leap
/// day is the last of one.
fn days_since_epoch(year: u64, month: u64, day: u64) -> i64 {
    // 400 years more keep every number positive, and are as many days in any calendar era.
    let year = year + 400 - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    i64::try_from(days).expect("a year of four digits has few days") - 719_468 - 146_097
}

/// `civil_from_days` of the same page, for days since the epoch that are not negative.
fn date_of_day(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_apis_are_read() {
        let check = |text: &str, expected: u64| assert_eq!(parse_rfc3339(text), Some(expected), "{text}");
        check("1970-01-01T00:00:00Z", 0);
        check("2019-05-15T15:20:18Z", 1_557_933_618_000);
        check("2019-05-15T15:20:18+00:00", 1_557_933_618_000);
        check("2019-05-15 17:20:18.25+02:00", 1_557_933_618_250);
        check("2019-05-15T09:50:18.250999-05:30", 1_557_933_618_250);
        check("2000-02-29T23:59:59.999Z", 951_868_799_999);
        check("2016-12-31T23:59:60Z", 1_483_228_799_000);
        check("9999-12-31T23:59:59.999Z", LAST_MS);
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "now",
            "2019-05-15",
            "2019-05-15T15:20:18",
            "2019-05-15T15:20Z",
            "2019-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2019-13-01T00:00:00Z",
            "2019-00-01T00:00:00Z",
            "2019-01-00T00:00:00Z",
            "2019-05-15T24:00:00Z",
            "2019-05-15T15:60:00Z",
            "2019-05-15T15:20:61Z",
            "2019-05-15T15:20:18.Z",
            "2019-05-15T15:20:18+2:00",
            "2019-05-15T15:20:18+02:00x",
            "2019-05-15T15:20:18+24:00",
            "+019-05-15T15:20:18Z",
            "2019-5-15T15:20:018Z",
            "1969-12-31T23:59:59Z",
            "ä019-05-15T15:20:18Z",
            "0000-01-01T00:00:00Z",
            "2019-05-15T15:20:1é",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn days_through_all_four_digit_years_survive_the_way_there_and_back() {
        for day in (0..=LAST_MS / DAY_MS).step_by(13) {
            let time = day * DAY_MS + day % DAY_MS;
            let text = format_rfc3339(time).unwrap();
            assert_eq!(parse_rfc3339(&text), Some(time), "{text}");
        }
        assert_eq!(format_rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(format_rfc3339(LAST_MS).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!(format_rfc3339(LAST_MS + 1), None);
    }
}
