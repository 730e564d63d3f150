//! Tells the person at the terminal what is being built and for how long already.
//! Decides nothing: with stderr closed everything works the same.

use std::io::IsTerminal;
use std::io::Write;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

/// The phases under way; they may overlap.
pub(crate) struct Phases {
    state: Mutex<State>,
    ended: Condvar,
    terminal: bool,
}

struct State {
    running: Vec<(&'static str, Instant)>,
    over: bool,
}

impl Phases {
    /// Runs `work` with a heartbeat beside it, so that no phase looks stuck.
    pub(crate) fn watch<T>(work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let phases = Self {
            state: Mutex::new(State { running: Vec::new(), over: false }),
            ended: Condvar::new(),
            terminal: std::io::stderr().is_terminal(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| phases.beat());
            let _end = EndOfWatch(&phases);
            work(&phases)
        })
    }

    /// One phase: announced, timed, and reported when it ends.
    pub(crate) fn run<T>(&self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        self.lock().running.push((name, start));
        self.say(&format!("  … {name}"));
        let result = work();
        self.lock().running.retain(|phase| *phase != (name, start));
        let mark = if result.is_ok() { "✓" } else { "✗" };
        self.say(&format!("  {mark} {name} ({})", seconds(start)));
        result
    }

    /// A line for the person.
    pub(crate) fn say(&self, line: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        // Nobody reading is no reason to stop building.
        let _ = writeln!(std::io::stderr(), "{clear}{line}");
    }

    fn beat(&self) {
        let every = if self.terminal { Duration::from_secs(1) } else { Duration::from_secs(30) };
        let mut state = self.lock();
        loop {
            let waited = self.ended.wait_timeout_while(state, every, |state| !state.over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.over {
                break;
            }
            let names: Vec<String> =
                state.running.iter().map(|(name, start)| format!("{name} {}", seconds(*start))).collect();
            if names.is_empty() {
                continue;
            }
            let line = names.join(", ");
            let _ = if self.terminal {
                write!(std::io::stderr(), "\r\x1b[K  ⏳ {line}")
            } else {
                writeln!(std::io::stderr(), "  still at it: {line}")
            };
        }
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be half done: a panic elsewhere leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the heartbeat however the work ends, a panic included; the scope would wait for it for ever.
struct EndOfWatch<'a>(&'a Phases);

impl Drop for EndOfWatch<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.ended.notify_all();
    }
}

fn seconds(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    if seconds < 100 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}
