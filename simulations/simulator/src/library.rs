//! The scenarios that ship with the tool.

use std::path::{Path, PathBuf};

use crate::scenario::{Scenario, ScenarioError};

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        /// Names and texts, ascending.
        pub const SCENARIOS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

scenarios![
    "big-room",
    "churn-storm",
    "duelling-moderators",
    "files-and-cuts",
    "first-steps",
    "flash-crowd-join",
    "hostile-tenth",
    "lan-party",
    "many-rooms",
    "month-offline",
    "split-brain",
    "ten-cities",
    "ten-thousand",
    "thousand-servers",
];

/// A scenario of the library, or one in a file; and where files that it names are looked for.
///
/// # Errors
/// [`ScenarioError`].
pub fn find(name: &str) -> Result<(String, Scenario, PathBuf), ScenarioError> {
    if let Some((name, text)) = SCENARIOS.iter().find(|(known, _)| *known == name) {
        return Ok(((*name).to_owned(), Scenario::parse(name, text)?, PathBuf::from(".")));
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(ScenarioError::Unknown(name.to_owned()));
    }
    let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let beside = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    Ok((stem, Scenario::read(path)?, beside))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn every_scenario_of_the_library_can_be_read_planned_and_written_again() {
        for (name, _) in SCENARIOS {
            let (_, scenario, beside) = find(name).unwrap();
            assert_eq!(Scenario::parse(name, &scenario.to_toml()).unwrap(), scenario, "{name}");
            let plan = Plan::new(&scenario, 1, &beside).unwrap();
            assert!(!plan.rooms.is_empty() && !plan.steps.is_empty(), "{name}");
        }
    }
}
