//! Progress bars: on standard error, and nothing at all where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many of something, such as `events`.
pub fn progress(length: u64, of: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {of}, {{eta}} to go");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
