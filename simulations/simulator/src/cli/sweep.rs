//! One field varied over seeds: each run is a process of its own.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use indicatif::ProgressBar;
use rocketmesh_sim::library;
use rocketmesh_sim::record::{About, Record};
use rocketmesh_sim::report::{self, SweepPoint};

use super::args::SweepArgs;
use super::{Failure, print, run, table, write_page};

/// Runs all, then draws.
pub(crate) fn sweep(args: &SweepArgs) -> Result<ExitCode, Failure> {
    let (_, scenario, _) = library::find(&args.scenario)?;
    let scenario = run::changed(scenario, &args.set)?;
    for value in &args.values {
        // Wrong values are found before hours are spent.
        scenario.set(&args.field, value)?;
    }
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{} cannot be written: {error}", args.out.display()))?;
    let mut waiting: Vec<(usize, u64)> =
        (0..args.values.len()).flat_map(|value| (1..=args.seeds).map(move |seed| (value, seed))).rev().collect();
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(waiting.len() as u64) } else { ProgressBar::hidden() };
    let mut running: Vec<Child> = Vec::new();
    let mut broken = 0;
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < args.jobs as usize
            && let Some((value, seed)) = waiting.pop()
        {
            running.push(start(args, &args.values[value], seed)?);
        }
        let mut left = Vec::new();
        for mut child in running {
            match child.try_wait()? {
                Some(status) => {
                    bar.inc(1);
                    broken += u64::from(!status.success());
                }
                None => left.push(child),
            }
        }
        running = left;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    bar.finish_and_clear();
    let points: Vec<SweepPoint> = args
        .values
        .iter()
        .map(|value| {
            let runs = (1..=args.seeds).map(|seed| about(&folder(&args.out, value, seed)));
            Ok(SweepPoint { value: value.clone(), runs: runs.collect::<Result<_, Failure>>()? })
        })
        .collect::<Result<_, Failure>>()?;
    let mut rows = report::sweep_table(&points).into_iter();
    let header = rows.next().unwrap_or_default();
    print(&table(&header.iter().map(String::as_str).collect::<Vec<_>>(), rows).to_string())?;
    let page = args.out.join("sweep.html");
    write_page(&page, &report::sweep(&scenario.title, &args.field, &points))?;
    print(&format!("\nreport  {}", page.display()))?;
    if broken > 0 {
        print(&format!("{broken} runs did not hold what they should; see their folders' run.json"))?;
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn folder(out: &Path, value: &str, seed: u64) -> std::path::PathBuf {
    let plain: String = value.chars().map(|c| if c.is_alphanumeric() || c == '.' { c } else { '_' }).collect();
    out.join(format!("{plain}-{seed}"))
}

fn start(args: &SweepArgs, value: &str, seed: u64) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(&args.scenario).arg("--seed").arg(seed.to_string()).arg("--json");
    for change in &args.set {
        command.arg("--set").arg(change);
    }
    command.arg("--set").arg(format!("{}={value}", args.field)).arg("--out").arg(folder(&args.out, value, seed));
    Ok(command.stdout(Stdio::null()).spawn()?)
}

fn about(folder: &Path) -> Result<About, Failure> {
    Ok(Record::read(folder)?.about)
}
