//! The printed table: Markdown with aligned columns.

use super::{Figure, Goal, Unit};

const HEADINGS: [&str; 6] = ["row", "what", "measured", "limit", "ratio", "goal"];

/// Formats the figures as a table.
pub(super) fn of(figures: &[Figure]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(figures.iter().map(cells));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut table = line(&rows[0]);
    table += &line(&rule);
    table.extend(rows[1..].iter().map(|row| line(row)));
    table
}

fn cells(figure: &Figure) -> [String; 6] {
    let limit = figure.limit.as_ref();
    let met = match figure.reached() {
        Some(reached) if reached >= 1.0 => "met",
        Some(_) => "missed",
        None => "",
    };
    let goal = match figure.goal {
        Some(Goal::AtLeast(goal)) => format!("≥ {goal}: {met}"),
        Some(Goal::AtMost(goal)) => format!("≤ {goal}: {met}"),
        None => String::new(),
    };
    [
        figure.row.to_owned(),
        figure.what.clone(),
        with_unit(figure.value, figure.unit),
        limit.map_or_else(String::new, |limit| {
            format!("{} ({})", with_unit(limit.value, figure.unit), limit.what)
        }),
        figure
            .ratio()
            .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        goal,
    ]
}

/// Formats a value with its unit: `4,490/s`, `3.6 ms`.
pub(super) fn with_unit(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", thousands(value)),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Megabytes => format!("{value:.0} MB"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_thousands() {
        let shown = |value| with_unit(value, Unit::PerSecond);
        assert_eq!(shown(7.0), "7/s");
        assert_eq!(shown(4_490.4), "4,490/s");
        assert_eq!(shown(1_000_000.0), "1,000,000/s");
    }

    #[test]
    fn a_goal_applies_to_the_ratio_if_there_is_a_limit() {
        let half = Figure::new("relay", "messages", 50.0, Unit::PerSecond).of("bare", 100.0);
        assert!(of(&[half.clone().at_least(0.5)]).contains("≥ 0.5: met"));
        assert!(of(&[half.clone().at_least(0.6)]).contains("≥ 0.6: missed"));
        assert!(of(&[half.at_most(0.4)]).contains("≤ 0.4: missed"));
        let slow = Figure::new("latency", "median", 6.0, Unit::Milliseconds).at_most(5.0);
        assert!(of(&[slow]).contains("≤ 5: missed"));
    }
}
