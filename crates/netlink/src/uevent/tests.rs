use super::*;

#[test]
fn what_the_kernel_says() {
    let bind = b"bind@/devices/pci0000:00/0000:00:05.0/0000:01:10.0\0ACTION=bind\0\
        DEVPATH=/devices/pci0000:00/0000:00:05.0/0000:01:10.0\0SUBSYSTEM=pci\0DRIVER=igbvf\0SEQNUM=1234\0";
    let wanted =
        Uevent { action: "bind", path: "/devices/pci0000:00/0000:00:05.0/0000:01:10.0", subsystem: "pci" };
    assert_eq!(Uevent::parse(bind), Some(wanted));
}

#[test]
fn what_is_none() {
    let no_subsystem = b"add@/module/igb\0ACTION=add\0DEVPATH=/module/igb\0SEQNUM=1\0";
    // udev's own go to another group, and begin so.
    let udev = b"libudev\0\xfe\xed\xca\xfe\0\0\0\x28SUBSYSTEM=net\0";
    for bytes in [&b""[..], b"\0", b"add", b"add@/x", b"add@/x\0SUBSYSTEM", b"\xff@/x\0SUBSYSTEM=net\0", udev]
    {
        assert_eq!(Uevent::parse(bytes), None, "{bytes:?}");
    }
    assert_eq!(Uevent::parse(no_subsystem), None);
}

#[test]
fn every_head_of_one_is_read_or_refused() {
    let whole = b"add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=net\0SEQNUM=7\0";
    for end in 0..whole.len() {
        if let Some(event) = Uevent::parse(&whole[..end]) {
            assert_eq!((event.action, event.path), ("add", "/devices/x"));
            assert!("net".starts_with(event.subsystem), "{}", event.subsystem);
        }
    }
}

#[test]
fn what_comes_before_a_bad_line_counts() {
    let event = Uevent::parse(b"add@/x\0SUBSYSTEM=net\0NAME=\xff\0").unwrap();
    assert_eq!(event.subsystem, "net");
}

#[test]
fn a_quiet_socket_says_nothing() {
    let mut uevents = Uevents::open().unwrap();
    // The machine may be at work meanwhile; none of it matters.
    assert!(!uevents.drain(|_| false).unwrap());
}

#[test]
fn a_link_that_comes_is_told_in_its_namespace() {
    use nix::sched::{CloneFlags, unshare};
    use std::process::Command;
    // The kernel tells other user namespaces nothing.
    if !std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295") {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let mut uevents = Uevents::open().unwrap();
    let add = ["link", "add", "d0", "type", "bridge"];
    assert!(Command::new("ip").args(add).status().unwrap().success());
    let mut told = Vec::new();
    uevents
        .drain(|event| {
            told.push(format!("{} {} {}", event.action, event.subsystem, event.path));
            false
        })
        .unwrap();
    assert!(told.contains(&"add net /devices/virtual/net/d0".to_owned()), "{told:?}");
}

#[test]
fn what_was_lost_counts_as_heard() {
    use nix::sched::{CloneFlags, unshare};
    use std::process::Command;
    if !std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295") {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let mut uevents = Uevents::with_room(4096).unwrap();
    for link in 0..30 {
        let add = ["link", "add", &format!("d{link}"), "type", "bridge"].map(str::to_owned);
        assert!(Command::new("ip").args(add).status().unwrap().success());
    }
    // Nothing of what was told matters; what was not told may.
    let mut told = 0;
    assert!(
        uevents
            .drain(|_| {
                told += 1;
                false
            })
            .unwrap()
    );
    assert!(told < 30, "{told} of them fit");
    assert!(!uevents.drain(|_| false).unwrap(), "once");
}
