//! Many nodes on one machine: real processes that talk over loopback or in a laboratory, conversations to replay, and what to
//! measure.
//!
//! | module | what it is for |
//! |---|---|
//! | [`process`] | starts `rocketmesh run` in a directory of its own, asks its API, and ends it |
//! | [`prepared`] | rooms that are made without a node, and full stores |
//! | [`catch_up`] | catching up with gaps small and large, joining large rooms |
//! | [`chat`] | conversations: the one that is built in, and IRC logs |
//! | [`measure`] | rates, percentiles, memory of a process |
//! | [`progress`] | progress bars |
//! | `rocketchat` | stand-ins for Rocket.Chat with a node beside each: what the demo shows, and how fast it is |
//! | `lab` | an internet of namespaces with NATs, and real nodes in it; on Linux |
//!
//! Three programs stand on it: `rocketmesh-demo`, `rocketmesh-bench` and `rocketmesh-lab`.

pub mod catch_up;
pub mod chat;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod measure;
pub mod prepared;
pub mod process;
pub mod progress;
#[cfg(feature = "rocketchat")]
pub mod rocketchat;

/// What these programs fail with: a sentence for whoever runs them.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Says why a program failed, if it did, and what it exits with.
pub fn finish(program: &str, outcome: Result<(), Failure>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("The {program} failed: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}
