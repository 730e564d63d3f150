//! A delegate's whole output within a time, or the end of the delegate.
//! It must not leave the process behind.

use std::io::{self, Read, Write};
use std::process::{Child, Output};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Feeds the child and reads all it says; past `limit` it is killed, and the error is one of time.
pub(super) fn output(mut child: Child, stdin: Vec<u8>, limit: Duration) -> io::Result<Output> {
    let deadline = Instant::now() + limit;
    if let Some(mut pipe) = child.stdin.take() {
        // One that does not read its input closes the pipe: its answer counts.
        std::thread::spawn(move || pipe.write_all(&stdin));
    }
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let wait =
        |from: &Receiver<Vec<u8>>| from.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let Some((stdout, stderr)) = wait(&stdout).ok().zip(wait(&stderr).ok()) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it was killed after {limit:?}")));
    };
    Ok(Output { status: child.wait()?, stdout, stderr })
}

/// Reads to the end in a thread of its own: a grandchild may hold the pipe open for longer than anybody waits.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes));
        // Nobody waits any more where the time is over.
        let _ = read.map(|_| sender.send(bytes));
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn child(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    #[test]
    fn what_it_says_comes_whole() {
        let said = output(child("cat; echo b >&2; exit 3"), b"a".to_vec(), Duration::from_secs(10)).unwrap();
        assert_eq!((said.stdout, said.stderr, said.status.code()), (b"a".to_vec(), b"b\n".to_vec(), Some(3)));
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let error = output(child("exec cat /dev/zero > /dev/null"), Vec::new(), Duration::from_millis(50));
        // Its stdout is /dev/null, so the pipe is closed at once; stderr stays open until the kill.
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
