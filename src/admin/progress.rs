//! Shows on a terminal how far a long command is: count, rate and the time that is left, from the first second.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// How often the line is written again.
const TICK: Duration = Duration::from_millis(200);

/// How far a command is. Nothing is shown if stderr is not a terminal.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows nothing.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Shows what [`Progress::begin`] tells.
    pub fn shown() -> Self {
        Self(ProgressBar::no_length())
    }

    /// A part of the command begins. `total` is how much there is to do, as far as that is known: then the line
    /// shows the time that is left. `unit` is what is counted.
    pub fn begin(&self, total: Option<u64>, unit: &str) {
        let counted = match total {
            Some(_) => format!("{{pos}} of {{len}} {unit}, {{rate}}, {{eta}} left {{wide_bar}}"),
            None => format!("{{pos}} {unit}, {{rate}}, {{elapsed}}"),
        };
        let style = ProgressStyle::with_template(&counted).unwrap_or_else(|_| ProgressStyle::default_bar());
        let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            // A line that cannot be written is written again soon.
            let _ = write!(text, "{:.0}/s", state.per_sec());
        };
        self.0.set_style(style.with_key("rate", rate));
        match total {
            Some(total) => self.0.set_length(total),
            None => self.0.unset_length(),
        }
        self.0.reset();
        self.0.enable_steady_tick(TICK);
    }

    /// So many more are done.
    pub fn advance(&self, by: u64) {
        // There may be more than was known at the beginning.
        if let Some(total) = self.0.length()
            && self.0.position() + by > total
        {
            self.0.set_length(self.0.position() + by);
        }
        self.0.inc(by);
    }

    /// So many are done in all.
    pub fn set(&self, done: u64) {
        self.advance(done.saturating_sub(self.0.position()));
    }

    /// Removes the line.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_the_count_only_grows() {
        let progress = Progress::hidden();
        progress.begin(Some(10), "users");
        progress.advance(4);
        progress.set(9);
        progress.set(7);
        assert_eq!((progress.0.position(), progress.0.length()), (9, Some(10)));
        progress.advance(5);
        assert_eq!((progress.0.position(), progress.0.length()), (14, Some(14)));
        progress.begin(None, "changes");
        assert_eq!((progress.0.position(), progress.0.length()), (0, None));
    }
}
