//! dpdk-testpmd, as a packet source and as a packet counter.
//! Only its words: where it runs is the caller's choice.

/// Arguments, `dpdk-testpmd` itself first, that send packets to `peer` from the function at `address`.
pub(crate) fn sender(address: &str, peer: &str) -> Vec<String> {
    testpmd(address, &format!("--forward-mode=txonly --eth-peer=0,{peer}"))
}

/// Arguments that count what arrives at the function at `address`.
pub(crate) fn receiver(address: &str) -> Vec<String> {
    testpmd(address, "--forward-mode=rxonly")
}

fn testpmd(address: &str, mode: &str) -> Vec<String> {
    // Two lcores are its minimum; two instances share them well enough. --in-memory: no files that two would fight over.
    // The timeout is a safety net, in case nobody ends it: statistics come every second, and once more at SIGINT.
    let line = format!(
        "timeout -s INT 120 dpdk-testpmd -l 0-1 -m 64 --in-memory -a {address} -- \
         {mode} --auto-start --total-num-mbufs=2048 --nb-cores=1 --stats-period 1"
    );
    line.split_whitespace().map(str::to_owned).collect()
}

/// The packets received so far, by testpmd's last words on them.
pub(crate) fn received(text: &str) -> u64 {
    last_count(text, "RX-packets:")
}

/// The packets sent so far.
pub(crate) fn sent(text: &str) -> u64 {
    last_count(text, "TX-packets:")
}

fn last_count(text: &str, label: &str) -> u64 {
    let last = text.rfind(label).map(|at| &text[at + label.len()..]);
    last.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_statistics_count() {
        let text = "  RX-packets: 0  RX-missed: 0\n  TX-packets: 7 \n RX-packets: 158383 RX-dropped: 1\n RX-packets: 15";
        assert_eq!(received(text), 15);
        assert_eq!(sent(text), 7);
        assert_eq!(sent("EAL: Probing"), 0);
    }
}
