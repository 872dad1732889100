//! The chart, which shows the share of each goal that is reached.

use std::path::Path;

use plotters::prelude::*;

use super::Figure;
use super::table::with_unit;

const WIDTH: u32 = 900;
const BAR: u32 = 30;
const MARGINS: u32 = 110;
/// Bars are cut off at three times the goal.
const MAX_SHARE: f64 = 3.0;
const MET: RGBColor = RGBColor(46, 125, 50);
const MISSED: RGBColor = RGBColor(198, 40, 40);

/// Draws a bar for each figure that has a goal.
///
/// # Errors
///
/// If the file can't be written.
pub(super) fn draw(figures: &[Figure], file: &Path) -> anyhow::Result<()> {
    let bars: Vec<(&Figure, f64)> = figures
        .iter()
        .filter_map(|figure| Some((figure, figure.reached()?)))
        .collect();
    if bars.is_empty() {
        return Ok(());
    }
    let count = i32::try_from(bars.len())?;
    // A single bar has an empty line above it: plotters draws nothing in a range of one segment.
    let last = (count - 1).max(1);
    let height = MARGINS + BAR * u32::try_from(bars.len())?;
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Share of each goal reached (1 = met)", ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(34)
        .y_label_area_size(330)
        .build_cartesian_2d(0.0..MAX_SHARE, (0..last).into_segmented())?;
    // From the top down, in the order of the table.
    let figure_at = |index: i32| bars.get(usize::try_from(count - 1 - index).ok()?);
    let label = |segment: &SegmentValue<i32>| match segment {
        SegmentValue::CenterOf(index) => figure_at(*index)
            .map_or_else(String::new, |(figure, _)| {
                format!("{}: {}", figure.row, figure.what)
            }),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(bars.len())
        .y_label_formatter(&label)
        .label_style(("sans-serif", 13))
        .draw()?;
    chart.draw_series((0..count).filter_map(|index| {
        let (_, reached) = figure_at(index)?;
        let colour = if *reached >= 1.0 { MET } else { MISSED };
        let corners = [
            (0.0, SegmentValue::Exact(index)),
            (reached.min(MAX_SHARE), SegmentValue::Exact(index + 1)),
        ];
        let mut bar = Rectangle::new(corners, colour.mix(0.75).filled());
        bar.set_margin(4, 4, 0, 0);
        Some(bar)
    }))?;
    chart.draw_series((0..count).filter_map(|index| {
        let (figure, reached) = figure_at(index)?;
        let text = format!("{:.2} ({})", reached, with_unit(figure.value, figure.unit));
        let at = (0.03, SegmentValue::CenterOf(index));
        Some(EmptyElement::at(at) + Text::new(text, (0, -6), ("sans-serif", 13)))
    }))?;
    chart.draw_series(LineSeries::new(
        [
            (1.0, SegmentValue::Exact(0)),
            (1.0, SegmentValue::Exact(count)),
        ],
        BLACK.stroke_width(2),
    ))?;
    area.present()?;
    Ok(())
}
