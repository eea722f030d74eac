//! One run.

use std::io::{IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rocketmesh_sim::plan::Plan;
use rocketmesh_sim::record::{About, Record};
use rocketmesh_sim::scenario::{Layer, Scenario};
use rocketmesh_sim::{library, model, real, report};

use super::args::RunArgs;
use super::{Failure, print, table, write_page};

/// The scenario with some fields changed.
pub(crate) fn changed(mut scenario: Scenario, changes: &[String]) -> Result<Scenario, Failure> {
    for change in changes {
        let (field, value) =
            change.split_once('=').ok_or(format!("`{change}` is no FIELD=VALUE, such as mesh.degree=4"))?;
        scenario = scenario.set(field, value)?;
    }
    Ok(scenario)
}

/// Runs a scenario, writes its folder, says what came of it.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let (name, scenario, beside) = library::find(&args.scenario)?;
    let scenario = changed(scenario, &args.set)?;
    let plan = Arc::new(Plan::new(&scenario, args.seed, &beside)?);
    let out =
        args.out.clone().unwrap_or_else(|| PathBuf::from("simulations/runs").join(format!("{name}-{}", args.seed)));
    std::fs::create_dir_all(&out).map_err(|error| format!("{} cannot be written: {error}", out.display()))?;
    let trace_file = match &args.trace {
        None => None,
        Some(path) => Some(
            std::fs::File::create(path).map_err(|error| format!("{} cannot be written: {error}", path.display()))?,
        ),
    };
    let about = About {
        scenario: name,
        layer: format!("{:?}", scenario.layer).to_lowercase(),
        commit: env!("ROCKETMESH_SIM_COMMIT").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rustc: env!("ROCKETMESH_SIM_RUSTC").to_owned(),
        command: command(args),
        ..About::default()
    };
    if !args.json {
        let (title, servers, talk) = (&scenario.title, scenario.servers, scenario.duration);
        print(&format!("{title}: {servers} servers, seed {}, {talk} of talk", args.seed))?;
    }
    say_how_to_repeat(about.command.clone());
    let mut progress = progress(args.json);
    let record = match scenario.layer {
        Layer::Real => real::run(plan, real::Options { sabotage: args.sabotage, trace_file, about }, progress)?,
        Layer::Protocol => {
            let options = model::Options { sabotage: args.sabotage, trace_file, about };
            let run = AssertUnwindSafe(|| model::run(plan, options, &mut progress));
            // What it said of itself stands above; it is no run that ended.
            std::panic::catch_unwind(run).map_err(|_| "the run panicked; what it said stands above")??.record
        }
    };
    record.write(&out)?;
    let page = out.join("report.html");
    write_page(&page, &report::page(&record))?;
    if args.json {
        print(&serde_json::to_string_pretty(&record.about)?)?;
    } else {
        say(&record)?;
        print(&format!("\nreport  {}", page.display()))?;
        print(&format!("again   {}", record.about.command))?;
        print(&format!("trace {}", record.about.trace))?;
    }
    if PANICKED.load(Ordering::Relaxed) {
        // Of a task on its own nobody hears but the hook.
        return Err("a task of the run panicked; what it said stands above, and the report may lack what it did".into());
    }
    Ok(if record.about.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether anything panicked in this process.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// A run that cannot end says which one it was, like one that can.
fn say_how_to_repeat(command: String) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Relaxed);
        before(panic);
        let _ = writeln!(std::io::stderr().lock(), "again   {command}");
    }));
}

/// The command that repeats the run.
fn command(args: &RunArgs) -> String {
    let set: String = args.set.iter().map(|change| format!(" --set '{change}'")).collect();
    format!("rocketmesh-sim run {} --seed {}{set}", args.scenario, args.seed)
}

/// A bar where there is a terminal, a line now and then where there is none.
fn progress(quiet: bool) -> impl FnMut(Duration, Duration) + Send + 'static {
    let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
        let style = ProgressStyle::with_template("{bar:30} {msg} {elapsed} real")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(1_000).with_style(style)
    });
    let mut said = 0;
    move |now: Duration, end: Duration| {
        let share = now.as_secs_f64() / end.as_secs_f64().max(0.001);
        let text = format!("{:.0} of at most {:.0} virtual seconds", now.as_secs_f64(), end.as_secs_f64());
        match &bar {
            Some(bar) => {
                bar.set_position((share * 1_000.0) as u64);
                bar.set_message(text);
            }
            None if !quiet && (share * 10.0) as u64 > said => {
                said = (share * 10.0) as u64;
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }
            None => {}
        }
    }
}

fn say(record: &Record) -> Result<(), Failure> {
    let about = &record.about;
    let share = |part: u64, whole: u64| if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 };
    let rows = [
        (
            "virtual time",
            format!(
                "{:.0} s in {:.1} real s, {:.2} times as fast",
                about.virtual_s,
                about.wall_s,
                about.virtual_s / about.wall_s.max(0.001)
            ),
        ),
        ("events said", about.events.to_string()),
        (
            "deliveries",
            format!("{} of {} ({:.4} %)", about.delivered, about.expected, share(about.delivered, about.expected)),
        ),
        ("by gossip alone", format!("{:.4} %", share(about.by_gossip, about.expected))),
        ("copies of an event", format!("{:.2}", about.copies)),
        (
            "delay, half / 99 of 100 / longest",
            format!("{:.1} / {:.1} / {:.1} ms", about.p50_ms, about.p99_ms, about.max_ms),
        ),
        ("healed after", about.heal_s.map_or("-".to_owned(), |heal| format!("{heal:.1} s"))),
        ("memory", format!("{:.0} MiB", about.peak_rss as f64 / 1_048_576.0)),
    ];
    print(&table(&["measured", ""], rows.map(|(what, value)| vec![what.to_owned(), value])).to_string())?;
    let invariants = record.invariants.iter().map(|row| {
        let held = if row.violations == 0 { "held".to_owned() } else { format!("BROKEN: {}", row.first) };
        vec![row.name.clone(), row.checks.to_string(), held]
    });
    print(&table(&["invariant", "checks", ""], invariants).to_string())?;
    for failure in &about.failures {
        print(&format!("FAILED  {failure}"))?;
    }
    Ok(())
}
