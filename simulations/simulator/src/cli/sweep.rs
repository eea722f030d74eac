//! One field varied over seeds: each run is a process of its own.

use std::io::{IsTerminal, Write};
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
    let all = waiting.len();
    let mut running: Vec<(usize, u64, Child)> = Vec::new();
    let mut points: Vec<SweepPoint> =
        args.values.iter().map(|value| SweepPoint { value: value.clone(), runs: Vec::new() }).collect();
    let (mut ended, mut broken, mut failed) = (0, 0, Vec::new());
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < args.jobs as usize
            && let Some((value, seed)) = waiting.pop()
        {
            running.push((value, seed, start(args, &args.values[value], seed)?));
        }
        let mut left = Vec::new();
        for (value, seed, mut child) in running {
            let Some(status) = child.try_wait()? else {
                left.push((value, seed, child));
                continue;
            };
            ended += 1;
            bar.inc(1);
            let named = format!("{}={} with seed {seed}", args.field, args.values[value]);
            if bar.is_hidden() {
                // Whoever tells no progress does not have to be told.
                let _ = writeln!(std::io::stderr().lock(), "{ended} of {all} runs ended: {named}");
            }
            broken += u64::from(status.code() == Some(1));
            // Only what this run wrote counts: a run that could not end may stand beside the record of an older one.
            match status.code() {
                Some(0 | 1) => match about(&folder(&args.out, &args.values[value], seed)) {
                    Ok(about) => points[value].runs.push(about),
                    Err(error) => failed.push(format!("{named}: {error}")),
                },
                _ => failed.push(format!("{named}: {status}")),
            }
        }
        running = left;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    bar.finish_and_clear();
    // Runs end in any order, and a page is the same for the same runs.
    for point in &mut points {
        point.runs.sort_by_key(|about| about.seed);
    }
    let mut rows = report::sweep_table(&points).into_iter();
    let header = rows.next().unwrap_or_default();
    print(&table(&header.iter().map(String::as_str).collect::<Vec<_>>(), rows).to_string())?;
    let page = args.out.join("sweep.html");
    write_page(&page, &report::sweep(&scenario.title, &args.field, &points))?;
    print(&format!("\nreport  {}", page.display()))?;
    if broken > 0 {
        print(&format!("{broken} runs did not hold what they should; see their folders' run.json"))?;
    }
    for run in &failed {
        print(&format!("NOT COUNTED  {run}"))?;
    }
    Ok(if broken == 0 && failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
