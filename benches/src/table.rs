//! The figures of a comparison as a table: percentiles, peak memory, and the ratios to the first of those compared.
//! It must not measure.

use std::time::Duration;

use crate::figures::{percentile, ratio};

/// Who was measured: its samples and its peak resident set, for each of the comparison's commands.
pub struct Column {
    name: String,
    cells: Vec<(&'static str, Vec<Duration>, Option<u32>)>,
}

impl Column {
    /// One without samples.
    pub fn new(name: &str, commands: &[&'static str]) -> Self {
        let cells = commands.iter().map(|command| (*command, Vec::new(), None)).collect();
        Self { name: name.to_owned(), cells }
    }

    /// Takes one sample of a command.
    pub fn took(&mut self, command: &str, sample: Duration) {
        let cells = self.cells.iter_mut().filter(|(known, ..)| *known == command);
        cells.for_each(|(_, samples, _)| samples.push(sample));
    }

    /// Takes the peak of one more run of a command, in KiB.
    pub fn weighed(&mut self, command: &str, kib: u32) {
        let cells = self.cells.iter_mut().filter(|(known, ..)| *known == command);
        cells.for_each(|(.., peak)| *peak = Some(peak.unwrap_or_default().max(kib)));
    }

    fn cell(&self, command: &str) -> (&[Duration], Option<u32>) {
        let cell = self.cells.iter().find(|(known, ..)| *known == command);
        cell.map_or((&[], None), |(_, samples, peak)| (samples, *peak))
    }
}

/// Prints the table and the ratios of the first column to each other.
pub fn print(title: &str, commands: &[&str], columns: &[&Column]) {
    println!("\n{title}");
    println!("{:<8} {:<10} {:>9} {:>9} {:>12}", "", "", "p50 ms", "p99 ms", "peak KiB");
    for command in commands {
        for column in columns {
            let (samples, peak) = column.cell(command);
            if samples.is_empty() {
                continue;
            }
            let peak = peak.map(|kib| kib.to_string()).unwrap_or_default();
            let (p50, p99) = (percentile(samples, 50), percentile(samples, 99));
            println!("{command:<8} {:<10} {:>9} {:>9} {peak:>12}", column.name, millis(p50), millis(p99));
        }
    }
    println!("\nratios: the median of each round's own, and of the two p99");
    let Some((ours, others)) = columns.split_first() else { return };
    for command in commands {
        for other in others {
            let ((our_samples, our_peak), (samples, peak)) = (ours.cell(command), other.cell(command));
            if samples.is_empty() {
                continue;
            }
            let pair = format!("{}/{}", ours.name, other.name);
            let p99 = percentile(our_samples, 99).div_duration_f64(percentile(samples, 99));
            print!("{command:<8} {pair:<20} p50 {:>5.2}  p99 {p99:>5.2}", ratio(our_samples, samples));
            match our_peak.zip(peak) {
                Some((ours, other)) => println!("  memory {:>5.2}", f64::from(ours) / f64::from(other)),
                None => println!(),
            }
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64() * 1000.0)
}
