//! The command line.

mod args;
mod run;
mod sweep;

use std::io::{self, Write};
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

/// The width of a table that no terminal shows.
const WIDTH: u16 = 80;

/// Prints text and ends the line. Whoever read it may have gone, as `head` does: that is no failure, and a run goes on, since
/// what counts is in its folder.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the output cannot be written: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Makes a folder and writes a page into it.
pub(crate) fn write_page(page: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| format!("{} cannot be written: {error}", page.display());
    if let Some(folder) = page.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(page, text).map_err(failed)?;
    Ok(())
}

/// The run in a folder.
fn read(folder: &Path) -> Result<Record, Failure> {
    if !folder.join("run.json").exists() {
        let folder = folder.display();
        let message = format!(
            "{folder} is no run's folder, because it has no run.json; `rocketmesh-sim run SCENARIO --out {folder}` makes one"
        );
        return Err(message.into());
    }
    Record::read(folder).map_err(Into::into)
}

/// Runs what the arguments say. Exits with 0 where everything held, 1 where something did not, 2 where nothing was run.
pub(crate) fn main() -> Result<ExitCode, Failure> {
    match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::List => {
            list()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { scenario, set } => {
            let (_, scenario, _) = library::find(&scenario)?;
            print(run::changed(scenario, &set)?.to_toml().trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare { a, b, out } => compare(&a, &b, &out),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Report { run } => {
            let record = read(&run)?;
            let page = run.join("report.html");
            write_page(&page, &report::page(&record))?;
            print(&format!("report  {}", page.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A table that fits the terminal, or a usual one where there is none.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table
}

fn list() -> Result<(), Failure> {
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
    print(&table(&["scenario", "layer", "servers", "talk", "shows"], rows).to_string())?;
    print("\nNext: rocketmesh-sim run first-steps --out /tmp/first-steps")
}

fn compare(a: &Path, b: &Path, out: &Path) -> Result<ExitCode, Failure> {
    let (first, second) = (read(a)?, read(b)?);
    let rows = report::comparison_table(&first, &second).into_iter().map(|row| row.to_vec());
    print(&table(&["", "A", "B", "difference", "verdict"], rows).to_string())?;
    write_page(out, &report::comparison(&first, &second))?;
    print(&format!("\nreport  {}", out.display()))?;
    Ok(ExitCode::SUCCESS)
}
