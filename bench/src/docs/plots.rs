//! Plots as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::tables::thousands;
use crate::record::{Curve, Record, Value};
use crate::run::Report;

const OURS: RGBColor = RGBColor(46, 117, 182);
const PEERS: RGBColor = RGBColor(160, 160, 160);
const FONT: (&str, u32) = ("sans-serif", 14);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Draws the plots for which the report has records.
pub(super) fn draw(report: &Report, docs: &Path) -> Result<()> {
    let find = |row: &str| report.records.iter().find(|record| record.row == row);
    if let Some(chain) = find("growth/chain") {
        let lines = lines(chain, "deferred", "boxed futures");
        curves(
            &docs.join("chain.svg"),
            "callbacks in a chain",
            "ns per callback",
            &lines,
            SeriesLabelPosition::UpperRight,
        )?;
    }
    if let (Some(median), Some(late)) = (find("load/pool, median"), find("load/pool, 99th percentile")) {
        let mut all = lines(median, "deferred, median", "tokio, median");
        all.extend(lines(late, "deferred, 99th percentile", "tokio, 99th percentile").into_iter().map(|mut line| {
            line.faint = true;
            line
        }));
        curves(
            &docs.join("load.svg"),
            "jobs per second, given in a thousand bursts",
            "us from given to called back",
            &all,
            SeriesLabelPosition::UpperLeft,
        )?;
    }
    let banks: Vec<_> = report.records.iter().filter(|record| record.row.starts_with("banks/")).collect();
    if let Some(first) = banks.first() {
        let peers = banks.iter().filter_map(|record| record.peer.as_ref());
        bars(&docs.join("banks.svg"), &[&first.ours].into_iter().chain(peers).collect::<Vec<_>>())?;
    }
    Ok(())
}

struct Line {
    label: &'static str,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    faint: bool,
}

fn lines(record: &Record, ours: &'static str, peer: &'static str) -> Vec<Line> {
    let points: &[_] = record.curve.as_ref().map_or(&[], |Curve { points, .. }| points);
    let mine = points.iter().map(|point| (point.size, point.ours)).collect();
    let theirs = points.iter().filter_map(|point| Some((point.size, point.peer?))).collect();
    vec![
        Line { label: peer, points: theirs, colour: PEERS, faint: false },
        Line { label: ours, points: mine, colour: OURS, faint: false },
    ]
}

/// Draws curves; both axes are logarithmic.
fn curves(path: &Path, along: &str, what: &str, lines: &[Line], legend: SeriesLabelPosition) -> Result<()> {
    let area = SVGBackend::new(path, (720, 380)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = all().map(of).fold(f64::INFINITY, f64::min);
        let greatest = all().map(of).fold(0.0, f64::max);
        (least, greatest)
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    let axis = |low: f64, high: f64| (low..high).log_scale();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(36)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(axis(left, right), axis(low / 1.5, high * 1.5))?;
    chart
        .configure_mesh()
        .x_desc(along)
        .y_desc(what)
        .x_label_formatter(&|value| thousands(*value))
        .y_label_formatter(&|value| thousands(*value))
        .y_labels(4)
        .light_line_style(WHITE)
        .label_style(FONT)
        .draw()?;
    for line in lines {
        let style = line.colour.mix(if line.faint { 0.6 } else { 1.0 }).stroke_width(if line.faint { 1 } else { 3 });
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(legend)
        .border_style(PEERS)
        .background_style(WHITE)
        .label_font(FONT)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Draws bars on a logarithmic scale, since the best bank serves hundreds of times as many
/// customers as the worst.
fn bars(path: &Path, banks: &[&Value]) -> Result<()> {
    let area = SVGBackend::new(path, (720, 60 + 44 * banks.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = banks.iter().map(|bank| bank.median).fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(8)
        .build_cartesian_2d((1.0..most * 12.0).log_scale(), 0.0..banks.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("customers served per second")
        .x_label_formatter(&|value| thousands(*value))
        .label_style(FONT)
        .draw()?;
    for (row, bank) in banks.iter().rev().enumerate() {
        let row = row as f64;
        let served = bank.median.max(1.0);
        let colour = if bank.what.contains("loop") { OURS } else { PEERS };
        chart.draw_series([Rectangle::new([(1.0, row + 0.2), (served, row + 0.8)], colour.filled())])?;
        let label = format!("{}: {served:.0}", bank.what);
        chart.draw_series([Text::new(label, (served * 1.1, row + 0.62), FONT)])?;
    }
    area.present()?;
    Ok(())
}
