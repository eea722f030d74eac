//! The command line.

mod args;
mod run;
mod sweep;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{ContentArrangement, Table, presets};
use rocketmesh_sim::library;
use rocketmesh_sim::record::Record;
use rocketmesh_sim::report;

use args::{Args, Command};

/// What ends the program: a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs what the arguments say. Exits with 0 where everything held, 1 where something did not, 2 where nothing was run.
pub(crate) fn main() -> Result<ExitCode, Failure> {
    match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { scenario, set } => {
            let (_, scenario, _) = library::find(&scenario)?;
            print!("{}", run::changed(scenario, &set)?.to_toml());
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare { a, b, out } => compare(&a, &b, &out),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Report { run } => {
            let record = Record::read(&run)?;
            let page = run.join("report.html");
            std::fs::write(&page, report::page(&record))?;
            println!("report  {}", page.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A table that fits the terminal.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    table
}

fn list() {
    let rows = library::SCENARIOS.iter().filter_map(|(name, _)| {
        let (_, scenario, _) = library::find(name).ok()?;
        let layer = format!("{:?}", scenario.layer).to_lowercase();
        Some(vec![
            (*name).to_owned(),
            layer,
            scenario.servers.to_string(),
            scenario.duration.to_string(),
            scenario.about,
        ])
    });
    println!("{}", table(&["scenario", "layer", "servers", "talk", "shows"], rows));
    println!("\nNext: rocketmesh-sim run first-steps --out /tmp/first-steps");
}

fn compare(a: &Path, b: &Path, out: &Path) -> Result<ExitCode, Failure> {
    let (first, second) = (Record::read(a)?, Record::read(b)?);
    let rows = report::comparison_table(&first, &second).into_iter().map(|row| row.to_vec());
    println!("{}", table(&["", "A", "B", "difference", "verdict"], rows));
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(out, report::comparison(&first, &second))?;
    println!("\nreport  {}", out.display());
    Ok(ExitCode::SUCCESS)
}
