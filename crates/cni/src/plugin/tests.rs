use std::collections::HashMap;

use super::*;

/// Counts what it was asked for through its answers.
struct Probe;

impl Plugin for Probe {
    fn add(&self, _: &Request) -> Result<Outcome, Error> {
        Ok(Outcome::default())
    }

    fn del(&self, _: &Request) -> Result<(), Error> {
        Err(Error::new(Code::TRY_AGAIN, "busy"))
    }
}

const CONF: &str = r#"{"cniVersion":"1.1.0","name":"n","type":"t"}"#;

fn ask(variables: &[(&str, &str)], conf: &str) -> String {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let mut stdout = Vec::new();
    let variable = |name: &str| variables.get(name).map(|value| (*value).into());
    run(&Probe, &variable, &mut conf.as_bytes(), &mut stdout);
    String::from_utf8(stdout).unwrap()
}

fn full<'a>(command: &'a str, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/nonexistent"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    all.into_iter().chain(changes.iter().copied()).collect()
}

fn code_and_msg(answer: &str) -> (u64, String) {
    let value: serde_json::Value = serde_json::from_str(answer).unwrap();
    (value["code"].as_u64().unwrap(), value["msg"].as_str().unwrap().to_owned())
}

#[test]
fn missing_variables_are_named_together() {
    let missing = code_and_msg(&ask(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c")], CONF));
    assert_eq!(missing, (4, "required env variables [CNI_NETNS,CNI_IFNAME,CNI_PATH] missing".into()));
    let text = ask(&[], "");
    assert_eq!(text, "{\n    \"code\": 4,\n    \"msg\": \"required env variables [CNI_COMMAND] missing\"\n}");
}

#[test]
fn malformed_variables_are_named_at_once() {
    for (name, value, msg) in [
        ("CNI_CONTAINERID", "a b", "invalid characters in containerID"),
        ("CNI_IFNAME", "sixteen-bytes-xx", "interface name is too long"),
        ("CNI_IFNAME", "..", "interface name is . or .."),
        ("CNI_IFNAME", "a/b", "interface name contains / or : or whitespace characters"),
    ] {
        assert_eq!(code_and_msg(&ask(&full("ADD", &[(name, value)]), CONF)), (4, msg.into()));
    }
}

#[test]
fn version_reads_no_input() {
    let text = ask(&[("CNI_COMMAND", "VERSION")], "not json");
    assert_eq!(
        text,
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
    );
}

#[test]
fn commands_know_their_version() {
    let conf = r#"{"cniVersion":"0.3.1","name":"n"}"#;
    assert_eq!(
        code_and_msg(&ask(&full("CHECK", &[]), conf)),
        (1, "config version does not allow CHECK".into())
    );
    assert_eq!(code_and_msg(&ask(&full("GC", &[]), conf)).1, "config version does not allow GC");
    assert_eq!(ask(&full("STATUS", &[]), CONF), "");
    assert_eq!(code_and_msg(&ask(&full("FOO", &[]), CONF)), (4, "unknown CNI_COMMAND: FOO".into()));
}

#[test]
fn a_plugins_error_keeps_its_code_and_names_the_version() {
    let text = ask(&full("DEL", &[]), CONF);
    assert_eq!(text, "{\n    \"cniVersion\": \"1.1.0\",\n    \"code\": 11,\n    \"msg\": \"busy\"\n}");
}

/// Deeper than the record could be read back with, and deeper than any of our readers goes.
#[test]
fn a_configuration_that_nests_too_deep_is_refused_before_any_work_and_ends_no_del() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"cniVersion":"1.1.0","name":"n","deep":{open}{close}}}"#)
    };
    assert!(code_and_msg_of("ADD", &nested(100)).is_none());
    for levels in [101, 126, 127, 128, 100_000] {
        for command in ["ADD", "STATUS"] {
            let (code, msg) = code_and_msg_of(command, &nested(levels)).unwrap();
            assert_eq!(code, 7, "{msg}");
            assert!(msg.starts_with("the network configuration nests deeper than 100 levels"), "{msg}");
        }
        assert_eq!(code_and_msg_of("DEL", &nested(levels)).unwrap().1, "busy");
    }
}

fn code_and_msg_of(command: &str, conf: &str) -> Option<(u64, String)> {
    let answer = ask(&full(command, &[]), conf);
    answer.contains("\"code\"").then(|| code_and_msg(&answer))
}

#[test]
fn the_nodes_own_namespace_is_refused_before_any_work() {
    let own = [("CNI_NETNS", "/proc/self/ns/net")];
    assert_eq!(code_and_msg(&ask(&full("ADD", &own), CONF)).0, 8);
    let overridden = [("CNI_NETNS", "/proc/self/ns/net"), ("CNI_NETNS_OVERRIDE", "True")];
    assert!(ask(&full("ADD", &overridden), CONF).starts_with("{\n    \"cniVersion\": \"1.1.0\""));
    assert_eq!(code_and_msg(&ask(&full("DEL", &own), CONF)).1, "busy");
}

#[test]
fn a_variable_that_is_no_text_is_not_a_missing_one() {
    use std::os::unix::ffi::OsStringExt;
    let variable = |name: &str| match name {
        "CNI_COMMAND" => Some("ADD".into()),
        "CNI_ARGS" => Some(std::ffi::OsString::from_vec(vec![b'M', 0xff])),
        _ => None,
    };
    let mut stdout = Vec::new();
    run(&Probe, &variable, &mut CONF.as_bytes(), &mut stdout);
    let (code, msg) = code_and_msg(&String::from_utf8(stdout).unwrap());
    assert_eq!((code, msg.as_str()), (4, "CNI_ARGS is not UTF-8 text"));
}

#[test]
fn a_result_that_the_version_cannot_say_is_an_error() {
    let answer = ask(&full("ADD", &[]), r#"{"name":"n"}"#);
    assert_eq!(code_and_msg(&answer), (999, "cannot convert: no valid IP addresses".into()));
}
