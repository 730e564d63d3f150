//! Whose turn it is: all in every round, each round beginning with another, so that they meet the same machine.
//! It must not measure.

use anyhow::Result;

/// Lets each of `subjects` play each of `rounds`.
pub fn play<S>(subjects: &mut [S], rounds: usize, mut round: impl FnMut(&mut S) -> Result<()>) -> Result<()> {
    let count = subjects.len();
    let mut turns = (0..rounds).flat_map(|first| (0..count).map(move |turn| (first + turn) % count));
    turns.try_for_each(|turn| round(&mut subjects[turn]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another() {
        let mut played = Vec::new();
        play(&mut ['a', 'b', 'c'], 3, |subject| {
            played.push(*subject);
            Ok(())
        })
        .unwrap();
        assert_eq!(played.iter().collect::<String>(), "abcbcacab");
    }
}
