//! The dates of IMAP, RFC 3501 section 9: `date` in SEARCH, `date-time` in APPEND and INTERNALDATE.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

use super::scan::{Expected, Scanner};

/// `date = date-text / DQUOTE date-text DQUOTE`, `date-text = 1*2DIGIT "-" date-month "-" 4DIGIT`
pub(super) fn date(s: &mut Scanner<'_>) -> Result<Date, Expected> {
    let quoted = s.accept("\"");
    let date = date_text(s)?;
    if quoted {
        s.expect("\"")?;
    }
    Ok(date)
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
pub(super) fn date_time(s: &mut Scanner<'_>) -> Result<OffsetDateTime, Expected> {
    s.expect("\"")?;
    // `date-day-fixed` has a space before a single digit.
    s.accept(" ");
    let date = date_text(s)?;
    s.sp()?;
    let hour = digits(s)?;
    s.expect(":")?;
    let minute = digits(s)?;
    s.expect(":")?;
    let second = digits(s)?;
    s.sp()?;
    let zone = zone(s)?;
    s.expect("\"")?;
    // A leap second is told as the second before it.
    let time = Time::from_hms(hour, minute, second.min(59)).map_err(|_| Expected("a time"))?;
    Ok(date.with_time(time).assume_offset(zone))
}

/// INTERNALDATE with its quotation marks.
pub(super) fn internal_date(at: OffsetDateTime) -> String {
    let (sign, seconds) = match at.offset().whole_seconds() {
        west if west < 0 => ('-', -west),
        east => ('+', east),
    };
    format!(
        "\"{:2}-{}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}\"",
        at.day(),
        month_name(at.month()),
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
        seconds / 3600,
        seconds / 60 % 60,
    )
}

fn date_text(s: &mut Scanner<'_>) -> Result<Date, Expected> {
    let day = digits(s)?;
    s.expect("-")?;
    let month = MONTHS
        .iter()
        .find(|(name, _)| s.accept(name))
        .ok_or(Expected("the name of a month"))?
        .1;
    s.expect("-")?;
    let year = s.number()?;
    i32::try_from(year)
        .ok()
        .filter(|year| *year <= 9999)
        .and_then(|year| Date::from_calendar_date(year, month, day).ok())
        .ok_or(Expected("a date"))
}

fn zone(s: &mut Scanner<'_>) -> Result<UtcOffset, Expected> {
    let sign = if s.accept("-") {
        -1
    } else {
        s.expect("+")?;
        1
    };
    let hhmm = s.number()?;
    let (hours, minutes) = (hhmm / 100, hhmm % 100);
    i32::try_from(hours * 3600 + minutes * 60)
        .ok()
        .and_then(|seconds| UtcOffset::from_whole_seconds(sign * seconds).ok())
        .ok_or(Expected("a time zone"))
}

fn digits(s: &mut Scanner<'_>) -> Result<u8, Expected> {
    u8::try_from(s.number()?).map_err(|_| Expected("two digits"))
}

fn month_name(month: Month) -> &'static str {
    MONTHS
        .iter()
        .find(|(_, each)| *each == month)
        .map_or("Jan", |(name, _)| name)
}

const MONTHS: [(&str, Month); 12] = [
    ("Jan", Month::January),
    ("Feb", Month::February),
    ("Mar", Month::March),
    ("Apr", Month::April),
    ("May", Month::May),
    ("Jun", Month::June),
    ("Jul", Month::July),
    ("Aug", Month::August),
    ("Sep", Month::September),
    ("Oct", Month::October),
    ("Nov", Month::November),
    ("Dec", Month::December),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times_come_back_as_they_were() {
        for text in [
            "\"17-Jul-1996 02:44:25 -0700\"",
            "\" 1-Jan-2026 23:59:00 +0545\"",
        ] {
            let at = date_time(&mut Scanner::new(text.as_bytes())).unwrap();
            assert_eq!(internal_date(at), text);
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in [
            "31-Feb-2026",
            "1-Foo-2026",
            "1-Jan-99999",
            "0-Jan-2026",
            "\"1-Jan-2026",
        ] {
            assert!(date(&mut Scanner::new(text.as_bytes())).is_err(), "{text}");
        }
        for text in [
            "\"1-Jan-2026 24:00:00 +0000\"",
            "\"1-Jan-2026 00:00:00 +9999999\"",
        ] {
            assert!(
                date_time(&mut Scanner::new(text.as_bytes())).is_err(),
                "{text}"
            );
        }
    }
}
