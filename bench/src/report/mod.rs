//! The measured figures, and the limits and goals to compare them with.

mod chart;
mod table;

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// The row that the figure belongs to, as in `ROW=…`.
    pub(crate) row: &'static str,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    /// The divisor of the value, if the goal is a ratio.
    pub(crate) limit: Option<Limit>,
    pub(crate) goal: Option<Goal>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
    Seconds,
    Megabytes,
}

/// A reference figure of the same run, which the value is divided by.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Limit {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
}

/// A goal for the ratio if there is a limit, otherwise for the value.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    pub(crate) fn new(row: &'static str, what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            row,
            what: what.into(),
            value,
            unit,
            limit: None,
            goal: None,
        }
    }

    pub(crate) fn of(mut self, what: &'static str, value: f64) -> Self {
        self.limit = Some(Limit { what, value });
        self
    }

    pub(crate) fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(Goal::AtLeast(goal));
        self
    }

    pub(crate) fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(Goal::AtMost(goal));
        self
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        self.limit.as_ref().map(|limit| self.value / limit.value)
    }

    /// The share of the goal that is reached. At 1 or more the goal is met; twice the time of the
    /// goal is a share of 0.5.
    pub(crate) fn reached(&self) -> Option<f64> {
        let compared = self.ratio().unwrap_or(self.value);
        Some(match self.goal? {
            Goal::AtLeast(goal) => compared / goal,
            Goal::AtMost(goal) => goal / compared.max(f64::MIN_POSITIVE),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.what,
            table::with_unit(self.value, self.unit)
        )?;
        match self.ratio() {
            Some(ratio) => write!(f, ", ratio {ratio:.2}"),
            None => Ok(()),
        }
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// Writes `results.json` and `results.svg` into the folder.
    ///
    /// # Errors
    ///
    /// If a file can't be written.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("results.json"), json + "\n")?;
        chart::draw(&self.figures, &folder.join("results.svg"))
    }

    /// The table as Markdown.
    pub(crate) fn table(&self) -> String {
        table::of(&self.figures)
    }
}
