//! When a product comes to the market.

use std::fmt;

use jiff::civil::Date;

/// A day of the years 1 to 9999, written `2026-03-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseDate(Date);

/// Why a text is no [`ReleaseDate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a day such as 2026-03-31")]
pub struct InvalidReleaseDate;

impl ReleaseDate {
    /// Reads a day in its one form, `YYYY-MM-DD`: no time, no sign, no other separators.
    ///
    /// # Errors
    ///
    /// If the text has another form or there is no such day.
    pub fn parse(text: &str) -> Result<Self, InvalidReleaseDate> {
        let has_form = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let day = has_form.then(|| text.parse::<Date>().ok()).flatten();
        day.filter(|day| day.year() > 0)
            .map(Self)
            .ok_or(InvalidReleaseDate)
    }

    /// The day.
    pub fn date(self) -> Date {
        self.0
    }
}

/// For days that were a release date before.
impl From<Date> for ReleaseDate {
    fn from(date: Date) -> Self {
        Self(date)
    }
}

impl fmt::Display for ReleaseDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_that_exist_in_their_one_form_are_taken() {
        for text in ["2026-03-31", "2024-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(ReleaseDate::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "2026-02-29",
            "0000-01-01",
            "-009999-01-01",
            "2026-3-31",
            "20260331",
            "2026-03-31T00:00",
            "2026/03/31",
            "tomorrow",
            "",
        ] {
            assert_eq!(ReleaseDate::parse(text), Err(InvalidReleaseDate), "{text}");
        }
    }
}
