//! Lets the program's own versions of these functions be found by `dlsym`, as the getrandom crate and std look for them.

fn main() {
    for name in ["getrandom", "getentropy", "clock_gettime"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
        println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol={name}");
    }
    let git =
        |args: &[&str]| std::process::Command::new("git").args(args).output().ok().filter(|out| out.status.success());
    let text = |out: std::process::Output| String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let mut commit = git(&["rev-parse", "--short=12", "HEAD"]).map(text).unwrap_or_else(|| "unknown".to_owned());
    // What is not committed makes another program.
    if git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|out| !out.stdout.is_empty()) {
        commit.push_str("-dirty");
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output().map(text).unwrap_or_default();
    println!("cargo::rustc-env=ROCKETMESH_SIM_COMMIT={commit}");
    println!("cargo::rustc-env=ROCKETMESH_SIM_RUSTC={version}");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/refs/heads");
    println!("cargo::rerun-if-changed=build.rs");
    // A change that is not committed changes the name, too.
    for sources in ["src", "scenarios", "data", "../src", "../../node/src", "../../protocol/src", "../../storage/src"] {
        println!("cargo::rerun-if-changed={sources}");
    }
}
