//! The four banks: the example's table, and its chart.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

use plotters::prelude::*;

use crate::twisted;

/// What the example says of one bank.
struct Bank {
    name: String,
    served: f64,
    rest: Vec<String>,
}

/// Runs the example, prints its table as Markdown, and draws the chart that docs/performance.md shows.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let (heads, banks) = measure()?;
    println!("| {} |", heads.join(" | "));
    println!("| --- |{}", " ---: |".repeat(heads.len() - 1));
    for bank in &banks {
        println!("| {} | {:.0} | {} |", bank.name, bank.served, bank.rest.join(" | "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/banks.svg");
    draw(&banks, &path)
}

fn measure() -> Result<(Vec<String>, Vec<Bank>), Box<dyn Error>> {
    let mut example = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    example.args(["run", "-q", "--release", "-p", "deferred-examples", "--example", "banks", "--", "--csv"]);
    example.current_dir(env!("CARGO_MANIFEST_DIR"));
    match twisted::python() {
        Ok(python) => drop(example.env("PYTHON", python)),
        Err(error) => eprintln!("without Twisted: {error}"),
    }
    let output = example.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let heads = lines.next().ok_or("the example says nothing")?;
    let banks = lines.map(|line| match &line[..] {
        [name, served, rest @ ..] => Ok(Bank { name: name.clone(), served: served.parse()?, rest: rest.to_vec() }),
        _ => Err("a bank without a number".into()),
    });
    Ok((heads, banks.collect::<Result<_, Box<dyn Error>>>()?))
}

/// Bars on a logarithmic scale, since the best serves hundreds of times as many as the worst.
fn draw(banks: &[Bank], path: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (720, 60 + 44 * banks.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = banks.iter().map(|bank| bank.served).fold(10.0, f64::max);
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
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (row, bank) in banks.iter().rev().enumerate() {
        let row = row as f64;
        let served = bank.served.max(1.0);
        let colour = if bank.name.contains("loop") { RGBColor(46, 117, 182) } else { RGBColor(160, 160, 160) };
        chart.draw_series([Rectangle::new([(1.0, row + 0.2), (served, row + 0.8)], colour.filled())])?;
        let label = format!("{}: {:.0}", bank.name, bank.served);
        chart.draw_series([Text::new(label, (served * 1.1, row + 0.62), ("sans-serif", 14))])?;
    }
    area.present()?;
    Ok(())
}
